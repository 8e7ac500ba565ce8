package processtest

import (
	"runtime"
	"syscall"
	"unsafe"
)

// hang makes all of this process hang, for good, although the system goes on
// saying that it runs: one goroutine keeps its processor within a system call
// that the scheduler does not know of, and no signal gets it out of there, so
// that a collection of garbage waits for it with everything else stopped.
func hang() {
	go func() {
		runtime.LockOSThread()
		all := ^uint64(0)
		//nolint:gosec // the kernel reads the mask
		_, _, _ = syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, 0, uintptr(unsafe.Pointer(&all)), 0, unsafe.Sizeof(all), 0, 0)
		_, _, _ = syscall.RawSyscall6(syscall.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
	}()
	go func() {
		for {
			runtime.GC()
		}
	}()
}
