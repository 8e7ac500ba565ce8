package clustertest_test

import (
	"context"
	"fmt"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
)

// Two processes of one host, in memory, and what the second one makes of it
// when the first one goes. A test has a [clustertest.Cluster] do this.
func ExampleNetwork() {
	ctx := context.Background()
	up := clustertest.NewUpstream()
	up.Set("greeting", "Hello")

	var network clustertest.Network
	create := func() *clusterclient.Client {
		c, err := clusterclient.Create("example", clustertest.Port,
			clusterclient.WithUpstream(up.Open), clusterclient.WithNetwork(network.Host()))
		if err != nil {
			panic(err)
		}
		return c
	}
	first, second := create(), create()
	defer func() { _ = second.Close() }()
	fmt.Println("roles:", first.Role(), "and", second.Role())

	for greeting, err := range clusterclient.Watch[[]byte](ctx, second, "greeting") {
		fmt.Printf("%s, %v\n", greeting, err)
		if string(greeting) == "Hello" {
			_ = first.Close()        // the second one leads now
			up.Set("greeting", "Hi") // and watches the upstream itself
			continue
		}
		break
	}
	for status := range second.StatusChanges(ctx) {
		if status.Role == clusterclient.RoleLeader {
			fmt.Println("role:", status.Role, "in term", status.Term)
			break
		}
	}
	fmt.Println("watches of the upstream:", up.Watches("greeting"))
	// Output:
	// roles: leader and follower
	// Hello, <nil>
	// Hi, <nil>
	// role: leader in term 2
	// watches of the upstream: 1
}
