{{/*
Names and labels.

- Kubernetes puts the name of the StatefulSet, with a hash, into a label of at most 63 characters. So a full name has at
  most 52. A longer one is cut and gets a hash of the whole, so that two long release names stay different.
- Selectors never change. They consist of the name and the release only.
- Labels of the chart's version are on no pod and on no volume claim: the former would restart members for nothing, and
  the latter cannot be changed.
*/}}

{{- define "gossipkv.name" -}}
{{- .Values.nameOverride | default .Chart.Name -}}
{{- end -}}

{{- define "gossipkv.fullname" -}}
{{- $name := include "gossipkv.name" . -}}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- $full = .Values.fullnameOverride | default $full -}}
{{- /* Release names may contain dots, names of Services may not. */ -}}
{{- $full = replace "." "-" $full -}}
{{- if gt (len $full) 52 -}}
{{- $full = printf "%s-%s" ($full | trunc 43 | trimSuffix "-") (sha256sum $full | trunc 8) -}}
{{- end -}}
{{- $full -}}
{{- end -}}

{{- define "gossipkv.headlessName" -}}
{{- include "gossipkv.fullname" . }}-headless
{{- end -}}

{{- define "gossipkv.headlessDomain" -}}
{{- include "gossipkv.headlessName" . }}.{{ .Release.Namespace }}.svc.{{ .Values.clusterDomain }}
{{- end -}}

{{- define "gossipkv.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (.Values.serviceAccount.create | ternary (include "gossipkv.fullname" .) "default") -}}
{{- end -}}

{{- define "gossipkv.clusterName" -}}
{{- .Values.clusterName | default (printf "%s.%s" .Release.Namespace (include "gossipkv.fullname" .)) -}}
{{- end -}}

{{- define "gossipkv.selectorLabels" -}}
app.kubernetes.io/name: {{ include "gossipkv.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Labels of the pod of `helm test`. No Service of the members may select it. */}}
{{- define "gossipkv.testLabels" -}}
app.kubernetes.io/name: {{ include "gossipkv.name" . }}-test
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Labels of all resources. Later ones override earlier ones. */}}
{{- define "gossipkv.labels" -}}
{{- $own := dict
  "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63)
  "app.kubernetes.io/version" (.Chart.AppVersion | replace "+" "_")
  "app.kubernetes.io/managed-by" .Release.Service
  "app.kubernetes.io/part-of" "gossipkv" -}}
{{- mergeOverwrite (dict) .Values.commonLabels $own (include "gossipkv.selectorLabels" . | fromYaml) | toYaml -}}
{{- end -}}

{{/* Labels of a Service. Each of the two Services with the same selector has a component of its own. */}}
{{- define "gossipkv.componentLabels" -}}
{{- $component := dict "app.kubernetes.io/component" (index . 1) -}}
{{- mergeOverwrite (include "gossipkv.labels" (index . 0) | fromYaml) $component | toYaml -}}
{{- end -}}

{{/* Labels of the members' pods. */}}
{{- define "gossipkv.podLabels" -}}
{{- mergeOverwrite (dict) .Values.commonLabels .Values.podLabels (include "gossipkv.selectorLabels" . | fromYaml) | toYaml -}}
{{- end -}}
