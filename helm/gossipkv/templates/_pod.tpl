{{/* The pod of a member. Nothing in it depends on `replicaCount` or on the chart's version. */}}
{{- define "gossipkv.pod" -}}
metadata:
  labels:
    {{- include "gossipkv.podLabels" . | nindent 4 }}
  {{- with .Values.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "gossipkv.serviceAccountName" . }}
  # Members need the token to watch EndpointSlices.
  automountServiceAccountToken: {{ eq .Values.discovery.kind "kubernetes" }}
  # The variables that Kubernetes sets for a Service named gossipkv look like settings.
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ include "gossipkv.terminationGracePeriodSeconds" . }}
  {{- with include "gossipkv.pullSecrets" . }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- with .Values.podSecurityContext }}
  securityContext:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with include "gossipkv.scheduling" . }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- with .Values.initContainers }}
  initContainers:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    {{- include "gossipkv.memberContainer" . | nindent 4 }}
    {{- with .Values.extraContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- if or (not .Values.persistence.enabled) .Values.extraVolumes }}
  volumes:
    {{- if not .Values.persistence.enabled }}
    - name: data
      emptyDir:
        sizeLimit: {{ .Values.persistence.size }}
        {{- with .Values.persistence.emptyDirMedium }}
        medium: {{ . }}
        {{- end }}
    {{- end }}
    {{- with .Values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- end }}
{{- end -}}

{{- define "gossipkv.scheduling" -}}
{{- with .Values.topologySpreadConstraints -}}
topologySpreadConstraints:
  {{- range . }}
  - {{ toYaml . | indent 4 | trim }}
    {{- if not (hasKey . "labelSelector") }}
    labelSelector:
      matchLabels:
        {{- include "gossipkv.selectorLabels" $ | nindent 8 }}
    {{- end }}
  {{- end }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{- define "gossipkv.memberContainer" -}}
- name: gossipkv
  image: {{ include "gossipkv.image" . | quote }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  args: [serve]
  env:
    {{- include "gossipkv.environment" . | nindent 4 }}
  {{- with .Values.extraEnvFrom }}
  envFrom:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  ports:
    - name: http
      containerPort: 7080
    - name: gossip
      containerPort: 7081
  startupProbe:
    {{- include "gossipkv.probe" (list "/livez" .Values.probes.startup) | nindent 4 }}
  livenessProbe:
    {{- include "gossipkv.probe" (list "/livez" .Values.probes.liveness) | nindent 4 }}
  readinessProbe:
    {{- include "gossipkv.probe" (list "/readyz" .Values.probes.readiness) | nindent 4 }}
  {{- if gt (int .Values.preStopSleepSeconds) 0 }}
  # Services take a while to learn that this member ends. Until then it serves the clients that they send.
  lifecycle:
    preStop:
      sleep:
        seconds: {{ .Values.preStopSleepSeconds }}
  {{- end }}
  {{- with .Values.containerSecurityContext }}
  securityContext:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.resources }}
  resources:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  volumeMounts:
    - name: data
      mountPath: /data
    {{- with .Values.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}

{{- define "gossipkv.probe" -}}
httpGet:
  path: {{ index . 0 }}
  port: http
{{ toYaml (index . 1) }}
{{- end -}}
