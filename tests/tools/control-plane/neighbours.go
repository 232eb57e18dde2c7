//go:build neighbours

// Package neighbours names the commands that the cluster tests run, so that
// go.mod and go.sum pin them. It is never compiled: `tests/tools/install`
// builds each command by its import path.
package neighbours

import (
	_ "go.etcd.io/etcd/server/v3"
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kube-controller-manager"
	_ "k8s.io/kubernetes/cmd/kube-proxy"
	_ "k8s.io/kubernetes/cmd/kube-scheduler"
	_ "k8s.io/kubernetes/cmd/kubelet"
)
