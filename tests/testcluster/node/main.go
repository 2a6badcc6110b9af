// Command node is one Kubernetes node in one binary: every component of the
// control plane, the kubelet, kube-proxy and kubectl, chosen by the name it is
// called by (a symbolic link) or by its first argument.
//
// One binary instead of six, because the components share most of their code:
// it links once and takes a quarter of the disk that six would take.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"
	_ "k8s.io/client-go/plugin/pkg/client/auth"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

var components = map[string]func() *cobra.Command{
	"kube-apiserver":          apiserver.NewAPIServerCommand,
	"kube-controller-manager": controllermanager.NewControllerManagerCommand,
	"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
	"kubelet":                 func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) },
	"kube-proxy":              proxy.NewProxyCommand,
}

func main() {
	name := filepath.Base(os.Args[0])
	if !known(name) && len(os.Args) > 1 {
		name = os.Args[1]
		os.Args = os.Args[1:] // kubectl and some components read os.Args themselves
	}
	if name == "kubectl" {
		if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
			util.CheckErr(err) // prints as kubectl does, and exits
		}
		return
	}
	command, ok := components[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "no component %q; there are: %v\n", name, names())
		os.Exit(2)
	}
	os.Exit(cli.Run(command()))
}

func known(name string) bool { return slices.Contains(names(), name) }

func names() []string {
	all := []string{"kubectl"}
	for name := range components {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}
