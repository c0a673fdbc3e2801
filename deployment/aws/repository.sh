#!/bin/sh
# Creates the ECR repository if it does not exist, with immutable tags, scan on push, and encryption. Needs aws.
set -eu

: "${REGION:?name the region: make repository REGION=...}"
: "${ECR_REPOSITORY:?name the ECR repository: make repository ECR_REPOSITORY=...}"

if said=$(aws ecr describe-repositories --region "$REGION" --repository-names "$ECR_REPOSITORY" 2>&1); then
    echo "repository: $ECR_REPOSITORY already exists"
    exit 0
fi
case $said in
*RepositoryNotFoundException*) ;;
*)
    echo "repository: AWS does not say whether $ECR_REPOSITORY exists: $said" >&2
    exit 1
    ;;
esac
aws ecr create-repository --region "$REGION" --repository-name "$ECR_REPOSITORY" \
    --image-tag-mutability IMMUTABLE --image-scanning-configuration scanOnPush=true \
    --encryption-configuration encryptionType=AES256
