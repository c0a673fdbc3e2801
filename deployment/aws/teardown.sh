#!/bin/sh
# Deletes the cluster, and the volumes only if you say so. Needs aws, eksctl, helm and kubectl.
#
# KEEP_DATA=yes keeps the volumes in the account, where they still cost money. KEEP_DATA=no deletes them, after you have
# typed the cluster's name (or given it as CONFIRM). Without a choice, the script does nothing.
#
# The order matters. Load balancers are deleted while the controller that created them still runs, and volumes while the
# driver that created them still runs. Without the cluster, nothing would delete either. A step that fails ends the script
# before the cluster is deleted: run it again.
set -eu

: "${CLUSTER:?name the cluster: make teardown CLUSTER=...}"
: "${REGION:?name the region: make teardown REGION=...}"
: "${KUBECONFIG:?name the file that reaches this cluster alone}"
: "${NAMESPACE:?name the namespace of the release}"
here=$(cd "$(dirname "$0")" && pwd)
KEEP_DATA=${KEEP_DATA:-}

end() {
    echo "teardown: $1. The cluster is still there; run this again afterwards" >&2
    exit 1
}

case $KEEP_DATA in
yes | no) ;;
*)
    echo "teardown: say what to do with the rows: KEEP_DATA=yes keeps the volumes, which still cost money; KEEP_DATA=no deletes them for good" >&2
    exit 2
    ;;
esac

# The file may be stale, or of another cluster. So it is written again from the name.
aws eks update-kubeconfig --name "$CLUSTER" --region "$REGION" --kubeconfig "$KUBECONFIG"

echo "teardown: volume claims in the cluster:"
kubectl get persistentvolumeclaims --all-namespaces
echo "teardown: volumes behind them, of all namespaces:"
volumes=$(kubectl get persistentvolumes \
    --output 'go-template={{range .items}}{{if .spec.csi}}{{.metadata.name}} {{.spec.csi.volumeHandle}} {{with .spec.claimRef}}{{.namespace}}/{{.name}}{{end}}{{"\n"}}{{end}}{{end}}')
printf '%s\n' "${volumes:-none}"

if [ "$KEEP_DATA" = no ] && [ -n "$volumes" ]; then
    if [ -z "${CONFIRM:-}" ]; then
        printf 'teardown: all of these volumes will be deleted for good. Type the name of the cluster to continue: '
        read -r CONFIRM || CONFIRM=
    fi
    if [ "$CONFIRM" != "$CLUSTER" ]; then
        echo "teardown: '$CONFIRM' is not '$CLUSTER'; nothing was deleted" >&2
        exit 2
    fi
fi

if [ "$KEEP_DATA" = yes ]; then
    # This comes before anything is deleted. From here on, deleting a claim no longer deletes its volume.
    printf '%s\n' "$volumes" | while read -r volume _; do
        [ -z "$volume" ] ||
            kubectl patch persistentvolume "$volume" --patch '{"spec": {"persistentVolumeReclaimPolicy": "Retain"}}'
    done
fi

echo "teardown: load balancers"
kubectl delete ingresses --all --all-namespaces --timeout 5m
services=$(kubectl get services --all-namespaces \
    --output 'go-template={{range .items}}{{if eq .spec.type "LoadBalancer"}}{{.metadata.namespace}} {{.metadata.name}}{{"\n"}}{{end}}{{end}}')
printf '%s\n' "$services" | while read -r namespace service; do
    [ -z "$service" ] ||
        kubectl delete service "$service" --namespace "$namespace" --timeout 5m ||
        end "the load balancer of $namespace/$service was not deleted; is the AWS Load Balancer Controller running?"
done

echo "teardown: the release"
helm uninstall gossipkv --namespace "$NAMESPACE" --ignore-not-found --wait --timeout 5m

if [ "$KEEP_DATA" = no ] && [ -n "$volumes" ]; then
    echo "teardown: volumes"
    # A claim that a pod still uses stays until the pod is gone. You must uninstall other releases yourself.
    kubectl delete persistentvolumeclaims --all --all-namespaces --timeout 5m ||
        end "a claim was not deleted: uninstall what still uses it (kubectl get pods --all-namespaces)"
    printf '%s\n' "$volumes" | while read -r volume identifier _; do
        kubectl wait --for delete "persistentvolume/$volume" --timeout 5m ||
            end "the volume $volume ($identifier) was not deleted; kubectl describe persistentvolume $volume says why"
    done
fi

echo "teardown: the cluster, which takes about ten minutes"
eksctl delete cluster --config-file "$here/cluster.yaml" --wait

echo "teardown: what is left and costs money:"
aws ec2 describe-volumes --region "$REGION" --filters "Name=tag:kubernetes.io/cluster/$CLUSTER,Values=owned" \
    --query 'Volumes[].[VolumeId,AvailabilityZone,Size]' --output text
aws resourcegroupstaggingapi get-resources --region "$REGION" --tag-filters "Key=elbv2.k8s.aws/cluster,Values=$CLUSTER" \
    --query 'ResourceTagMappingList[].ResourceARN' --output text
if [ "$KEEP_DATA" = yes ] && [ -n "$volumes" ]; then
    echo "teardown: these volumes were kept (volume, EBS id, claim):"
    printf '%s\n' "$volumes"
fi
echo "teardown: the ECR repository and its images stay; the README says how to delete them"
