{{/*
The settings of a member, as variables of its environment.

- Nothing here depends on `replicaCount`: scaling restarts no member.
- What `settings` gives goes before what is worked out here.
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

{{/* A value as text. Whole numbers of a values file arrive as floats, and would come out as 6.5e+10. */}}
{{- define "gossipkv.text" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) -}}
{{- int64 . -}}
{{- else -}}
{{- . -}}
{{- end -}}
{{- end -}}

{{/*
90 % of the volume, in whole pages of 4,096 bytes: a file system takes a part of its volume for itself, and an emptyDir
that outgrows its limit costs the pod its life. A member sees how full its file system is by itself, but not every
provisioner makes volumes as small as they were asked for, nor does a limit of an emptyDir show there.
*/}}
{{- define "gossipkv.storageBytesMax" -}}
{{- $units := dict "" 1 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- $number := regexFind "^[0-9.]+" .Values.persistence.size -}}
{{- $unit := trimPrefix $number .Values.persistence.size -}}
{{- $pages := divf (mulf (float64 $number) (get $units $unit) 0.9) 4096 | int64 -}}
{{- mul $pages 4096 -}}
{{- end -}}

{{/* Where commands in the pod reach its member. */}}
{{- define "gossipkv.loopbackUrl" -}}
http://{{ contains ":" .Values.listenHost | ternary "[::1]" "127.0.0.1" }}:7080
{{- end -}}

{{/* Seconds from SIGTERM, or from the preStop before it, to SIGKILL: more than a clean leave can take. */}}
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
