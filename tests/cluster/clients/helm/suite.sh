#!/usr/bin/env bash
# What a user of helm does, against the cluster of a kubeconfig:
#   suite.sh HELM KUBECONFIG
# Says each step; the first one that is not as Kubernetes has it ends the program with an error.
set -euo pipefail
helm=$1
export KUBECONFIG=$2
chart=$(dirname "$0")/chart
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
export HELM_CACHE_HOME=$home HELM_CONFIG_HOME=$home HELM_DATA_HOME=$home

# is WHAT JSONPATH VALUE
is() {
    local found
    found=$(kubectl get "$1" --output "jsonpath={$2}")
    [ "$found" = "$3" ] || { echo "$1 $2 is '$found', not '$3'" >&2; exit 1; }
}

"$helm" install web "$chart" --wait --timeout 60s >/dev/null
is deployment/web .status.availableReplicas 2
is configmap/web .data.greeting hello
is configmap/web .data.version v1.36.0
is configmap/web .data.jobs true
echo "ok a release is installed and becomes ready"

"$helm" upgrade web "$chart" --set replicas=3,greeting=welcome --wait --timeout 60s >/dev/null
is deployment/web .status.availableReplicas 3
is configmap/web .data.greeting welcome
echo "ok it is upgraded"

kubectl patch configmap web --patch '{"data":{"mine":"kept"}}' >/dev/null
"$helm" rollback web 1 --wait --timeout 60s >/dev/null
is deployment/web .spec.replicas 2
is configmap/web .data.greeting hello
is configmap/web .data.mine kept
echo "ok it is rolled back, and what somebody else wrote stays"

[ "$("$helm" history web --output json | grep -o '"revision":[0-9]*' | wc -l)" = 3 ]
"$helm" list --output json | grep -q '"status":"deployed"'
"$helm" get manifest web | grep -q 'greeting: hello'
echo "ok its history, list and manifest"

"$helm" uninstall web --wait --timeout 60s >/dev/null
[ -z "$(kubectl get deployments,configmaps,secrets --field-selector metadata.name!=kube-root-ca.crt --output name)" ]
echo "ok nothing of it is left"
