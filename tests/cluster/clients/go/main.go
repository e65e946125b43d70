// What an operator written in Go does, against the cluster of the kubeconfig in the first argument:
// protobuf for everything that has such a form, informers, typed apply, leader election.
// Says each step; the first one that is not as Kubernetes has it ends the program with an error.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	applycore "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/client-go/util/retry"
)

const namespace = "go"

func step(name string) { fmt.Println("ok", name) }

// must ends the program unless all is well.
func must(err error) {
	if err != nil {
		log.Output(2, err.Error())
		os.Exit(1)
	}
}

func hold(holds bool, what string, seen ...any) {
	if !holds {
		log.Output(2, fmt.Sprintln("not so:", what, seen))
		os.Exit(1)
	}
}

func deployment(name string) *appsv1.Deployment {
	labels, replicas := map[string]string{"app": name}, int32(2)
	pod := corev1.PodSpec{
		Containers: []corev1.Container{{Name: "c", Image: "web", Ports: []corev1.ContainerPort{{ContainerPort: 80}}}},
		Volumes: []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}},
	}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: pod},
		},
	}
}

func objects(ctx context.Context, client kubernetes.Interface) {
	deployments := client.AppsV1().Deployments(namespace)
	events, err := deployments.Watch(ctx, metav1.ListOptions{})
	must(err)
	made, err := deployments.Create(ctx, deployment("web"), metav1.CreateOptions{})
	must(err)
	hold(made.Spec.Template.Spec.Volumes[0].EmptyDir != nil, "the volume's source came back", made)
	hold(made.Spec.Strategy.RollingUpdate.MaxSurge.String() == "25%", "defaults", made.Spec.Strategy)
	for event := range events.ResultChan() {
		if event.Object.(*appsv1.Deployment).Status.AvailableReplicas == 2 {
			break
		}
	}
	must(retry.RetryOnConflict(retry.DefaultRetry, func() error {
		current, err := deployments.Get(ctx, "web", metav1.GetOptions{})
		must(err)
		current.Spec.Paused = true
		_, err = deployments.Update(ctx, current, metav1.UpdateOptions{})
		return err
	}))
	scale, err := deployments.GetScale(ctx, "web", metav1.GetOptions{})
	must(err)
	hold(scale.Spec.Replicas == 2 && scale.Status.Selector == "app=web", "the scale", scale)
	_, err = client.CoreV1().Pods(namespace).Get(ctx, "none", metav1.GetOptions{})
	hold(apierrors.IsNotFound(err), "failures are typed", err)
	must(deployments.Delete(ctx, "web", metav1.DeleteOptions{}))
	for event := range events.ResultChan() {
		if event.Type == watch.Deleted {
			break
		}
	}
	step("a deployment in protobuf: create, watch, update, scale, delete")
}

func informing(ctx context.Context, client kubernetes.Interface) {
	factory := informers.NewSharedInformerFactory(client, 0)
	all := []cache.SharedIndexInformer{
		factory.Core().V1().Nodes().Informer(), factory.Core().V1().Services().Informer(),
		factory.Core().V1().ConfigMaps().Informer(), factory.Core().V1().Namespaces().Informer(),
		factory.Apps().V1().Deployments().Informer(), factory.Rbac().V1().ClusterRoles().Informer(),
		factory.Discovery().V1().EndpointSlices().Informer(), factory.Coordination().V1().Leases().Informer(),
		factory.Flowcontrol().V1().FlowSchemas().Informer(), factory.Scheduling().V1().PriorityClasses().Informer(),
	}
	factory.Start(ctx.Done())
	for kind, synced := range factory.WaitForCacheSync(ctx.Done()) {
		hold(synced, "a cache fills", kind)
	}
	hold(len(all[0].GetStore().List()) == 1, "the node is seen", all[0].GetStore().ListKeys())
	step("informers of ten kinds")
}

func applying(ctx context.Context, client kubernetes.Interface) {
	maps := client.CoreV1().ConfigMaps(namespace)
	config := applycore.ConfigMap("ssa", namespace).WithData(map[string]string{"a": "1"})
	_, err := maps.Apply(ctx, config, metav1.ApplyOptions{FieldManager: "one"})
	must(err)
	config.WithData(map[string]string{"a": "2"})
	_, err = maps.Apply(ctx, config, metav1.ApplyOptions{FieldManager: "two"})
	hold(apierrors.IsConflict(err), "a conflict", err)
	forced, err := maps.Apply(ctx, config, metav1.ApplyOptions{FieldManager: "two", Force: true})
	must(err)
	extracted, err := applycore.ExtractConfigMap(forced, "two")
	must(err)
	hold(extracted.Data["a"] == "2", "what one applied can be told from the object", extracted)
	step("server-side apply: create, conflict, force, extract")
}

func leading(ctx context.Context, client kubernetes.Interface) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	led := false
	leaderelection.RunOrDie(ctx, leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Name: "leader", Namespace: namespace},
			Client:     client.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: "me"},
		},
		ReleaseOnCancel: true,
		LeaseDuration:   15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 2 * time.Second,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) { led = true; stop() },
			OnStoppedLeading: func() {},
		},
	})
	hold(led, "somebody leads")
	step("a leader is elected")
}

func custom(ctx context.Context, config *rest.Config) {
	client, err := dynamic.NewForConfig(config)
	must(err)
	definitions := client.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	definition := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": "toys.go.example.com"},
		"spec": map[string]any{
			"group": "go.example.com", "scope": "Namespaced",
			"names": map[string]any{"plural": "toys", "kind": "Toy"},
			"versions": []any{map[string]any{"name": "v1", "served": true, "storage": true,
				"schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object",
					"properties": map[string]any{"spec": map[string]any{"type": "object",
						"properties": map[string]any{"size": map[string]any{"type": "integer", "default": int64(3)}}}}}}}},
		},
	}}
	_, err = definitions.Create(ctx, definition, metav1.CreateOptions{})
	must(err)
	kind := schema.GroupVersionResource{Group: "go.example.com", Version: "v1", Resource: "toys"}
	toys := client.Resource(kind).Namespace(namespace)
	toy := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "go.example.com/v1", "kind": "Toy",
		"metadata": map[string]any{"name": "t"}, "spec": map[string]any{}}}
	var made *unstructured.Unstructured
	must(retry.OnError(retry.DefaultBackoff, apierrors.IsNotFound, func() (err error) {
		made, err = toys.Create(ctx, toy, metav1.CreateOptions{})
		return err
	}))
	size, _, _ := unstructured.NestedInt64(made.Object, "spec", "size")
	hold(size == 3, "defaults", made)
	partial, err := metadata.NewForConfig(config)
	must(err)
	list, err := partial.Resource(kind).Namespace(namespace).List(ctx, metav1.ListOptions{})
	must(err)
	hold(len(list.Items) == 1 && list.Items[0].Name == "t", "its metadata in protobuf", list)
	step("a custom resource, and its metadata alone")
}

func main() {
	config, err := clientcmd.BuildConfigFromFlags("", os.Args[1])
	must(err)
	plain := rest.CopyConfig(config)
	config.ContentType = "application/vnd.kubernetes.protobuf"
	config.AcceptContentTypes = "application/vnd.kubernetes.protobuf"
	client, err := kubernetes.NewForConfig(config)
	must(err)
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()

	_, err = client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{})
	must(err)
	accounts, err := client.CoreV1().ServiceAccounts(namespace).Watch(ctx, metav1.ListOptions{})
	must(err)
	<-accounts.ResultChan()
	objects(ctx, client)
	informing(ctx, client)
	applying(ctx, client)
	leading(ctx, client)
	custom(ctx, plain)
	_, err = client.Discovery().ServerPreferredResources()
	must(err)
	document, err := client.Discovery().OpenAPISchema()
	must(err)
	hold(len(document.Definitions.AdditionalProperties) > 500, "OpenAPI in protobuf")
	step("discovery and OpenAPI version 2 in protobuf")
}
