#!/bin/sh
# Builds the image, pushes it to ECR under a tag that names its commit, and writes the digest to image.env.
#
# Tags are immutable in ECR, so a tag always names the same image. The chart is installed by digest all the same, because a
# digest can be verified. A commit that is already in ECR is not built again. Needs aws, docker and git.
set -eu

: "${REGION:?name the region: make push REGION=...}"
: "${ECR_REPOSITORY:?name the ECR repository: make push ECR_REPOSITORY=...}"
PLATFORM=${PLATFORM:-linux/amd64}
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)

if [ -n "$(git -C "$root" status --porcelain)" ]; then
    echo "push: there are uncommitted changes; commit them first, so that the tag names what is in the image" >&2
    exit 1
fi

digest_of() {
    aws ecr describe-images --region "$REGION" --repository-name "$ECR_REPOSITORY" --image-ids imageTag="$1" \
        --query 'imageDetails[0].imageDigest' --output text
}

version=$(sed -n 's/^appVersion: *"\{0,1\}\([^"]*\)"\{0,1\} *$/\1/p' "$root/helm/gossipkv/Chart.yaml")
commit=$(git -C "$root" rev-parse HEAD)
tag="$version-$(printf %.12s "$commit")"
account=$(aws sts get-caller-identity --query Account --output text)
registry="$account.dkr.ecr.$REGION.amazonaws.com"

if digest=$(digest_of "$tag" 2>/dev/null); then
    echo "push: $tag is already in ECR"
else
    aws ecr get-login-password --region "$REGION" | docker login --username AWS --password-stdin "$registry"
    docker build --platform "$PLATFORM" --tag "$registry/$ECR_REPOSITORY:$tag" \
        --build-arg VERSION="$version" --build-arg REVISION="$commit" \
        --build-arg CREATED="$(git -C "$root" log -1 --format=%cI)" "$root"
    docker push "$registry/$ECR_REPOSITORY:$tag"
    digest=$(digest_of "$tag")
fi

case $digest in
sha256:*) ;;
*)
    echo "push: ECR gave no digest for $tag but '$digest'; look with: aws ecr describe-images --repository-name $ECR_REPOSITORY" >&2
    exit 1
    ;;
esac
printf 'IMAGE_REPOSITORY := %s\nIMAGE_DIGEST := %s\n' "$registry/$ECR_REPOSITORY" "$digest" >"$here/image.env"
echo "push: $registry/$ECR_REPOSITORY:$tag is $digest"
