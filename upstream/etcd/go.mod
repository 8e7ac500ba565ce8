module github.com/clusterclient/clusterclient/upstream/etcd

go 1.26.0

require github.com/clusterclient/clusterclient v0.0.0

replace github.com/clusterclient/clusterclient => ../..
