{{/*
The settings of a member, as environment variables.

- Nothing here depends on `replicaCount`, so scaling restarts no member.
- The value `settings` overrides what is computed here.
*/}}

{{- define "gossipkv.environment" -}}
- name: GOSSIPKV_MEMBER
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: GOSSIPKV_ADVERTISE_HOST
  valueFrom:
    fieldRef:
      fieldPath: status.podIP
{{- if eq .Values.discovery.kind "kubernetes" }}
- name: GOSSIPKV_DISCOVERY_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
{{- end }}
{{- range $name, $value := include "gossipkv.settings" . | fromYaml }}
- name: GOSSIPKV_{{ upper $name }}
  value: {{ $value | quote }}
{{- end }}
- name: GOSSIPKV_SERVER
  value: {{ include "gossipkv.loopbackUrl" . | quote }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Settings by name, all as text. */}}
{{- define "gossipkv.settings" -}}
{{- $settings := dict
  "cluster" (include "gossipkv.clusterName" .)
  "data_dir" "/data"
  "http_host" .Values.listenHost
  "gossip_host" .Values.listenHost
  "log_format" "json"
  "storage_bytes_max" (include "gossipkv.storageBytesMax" .)
  "discovery" .Values.discovery.kind
  "discovery_dns_name" (include "gossipkv.headlessDomain" .) -}}
{{- if eq .Values.discovery.kind "kubernetes" -}}
{{- $_ := set $settings "discovery_service" (include "gossipkv.headlessName" .) -}}
{{- end -}}
{{- range $name, $value := .Values.settings -}}
{{- $_ := set $settings $name (include "gossipkv.text" $value) -}}
{{- end -}}
{{- toYaml $settings -}}
{{- end -}}

{{/* A value as text. Whole numbers of a values file arrive as floats, and would be written as 6.5e+10. */}}
{{- define "gossipkv.text" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) -}}
{{- int64 . -}}
{{- else -}}
{{- . -}}
{{- end -}}
{{- end -}}

{{/*
90 % of the volume, in whole pages of 4,096 bytes. A file system takes a part of its volume for itself, and Kubernetes
kills a pod whose emptyDir outgrows its limit. A member sees by itself how full its file system is. But some provisioners
make volumes larger than requested, and a file system does not show the limit of an emptyDir.
*/}}
{{- define "gossipkv.storageBytesMax" -}}
{{- $units := dict "" 1 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- $number := regexFind "^[0-9.]+" .Values.persistence.size -}}
{{- $unit := trimPrefix $number .Values.persistence.size -}}
{{- $pages := divf (mulf (float64 $number) (get $units $unit) 0.9) 4096 | int64 -}}
{{- mul $pages 4096 -}}
{{- end -}}

{{/* The URL at which commands in the pod reach its member. */}}
{{- define "gossipkv.loopbackUrl" -}}
http://{{ contains ":" .Values.listenHost | ternary "[::1]" "127.0.0.1" }}:7080
{{- end -}}

{{/* Seconds from SIGTERM, or from the preStop hook before it, to SIGKILL. More than a clean leave can take. */}}
{{- define "gossipkv.terminationGracePeriodSeconds" -}}
{{- $stop := .Values.settings.stop_timeout_s | default 20 | float64 | ceil | int -}}
{{- $needed := add .Values.preStopSleepSeconds $stop -}}
{{- $given := .Values.terminationGracePeriodSeconds -}}
{{- if kindIs "invalid" $given -}}
{{- add $needed 10 -}}
{{- else if le (int $given) (int $needed) -}}
{{- fail (printf "terminationGracePeriodSeconds is %d, but must exceed preStopSleepSeconds and settings.stop_timeout_s, together %d" (int $given) (int $needed)) -}}
{{- else -}}
{{- int $given -}}
{{- end -}}
{{- end -}}
