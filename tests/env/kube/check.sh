#!/bin/bash
# Checks a running cluster (kube up) against what an operator's tests lean on. Same KUBE_DIR as for `kube up`.
#   check.sh            everything (the last check waits for a CronJob: up to a minute)
#   check.sh --light    only what needs no pod (for kube up --control-plane-only)
# Prints one line per check, and `N passed, N failed` at the end.
set -uo pipefail
KIT=$(dirname "$(readlink -f "$0")")
kube() { "$KIT/kube" "$@"; }
k() { kube kubectl -n check "$@"; }
LIGHT=${1:-}
T=$(mktemp -d); PASS=0 FAIL=0 PIDS=()
finish() {
  for p in "${PIDS[@]}"; do kill "$p" 2>/dev/null; done
  rm -rf "$T"
}
trap finish EXIT
check() { # NAME CMD...: passes when the command does
  local n=$1 t0=$(date +%s%N); shift
  if "$@" >"$T/out" 2>&1; then PASS=$((PASS + 1)); echo "ok    $n ($((($(date +%s%N) - t0) / 1000000)) ms)"
  else FAIL=$((FAIL + 1)); echo "FAIL  $n"; sed 's/^/      | /' "$T/out" | tail -15; fi
}
refused() { # PATTERN CMD...: the command fails and says so
  local pat=$1 out; shift
  if out=$("$@" 2>&1); then echo "was accepted: $out"; return 1; fi
  grep -q -- "$pat" <<<"$out" || { echo "other refusal: $out"; return 1; }
}
says() { # PATTERN CMD...
  local pat=$1 out; shift
  out=$("$@" 2>&1) || { echo "$out"; return 1; }
  grep -q -- "$pat" <<<"$out" || { echo "no '$pat' in: $out"; return 1; }
}
eventually() { # SECONDS CMD...
  local end=$((SECONDS + $1)); shift
  until "$@"; do [ $SECONDS -lt $end ] || return 1; sleep 0.5; done
}
job_done() { k wait --for=condition=complete --timeout="${2:-60}s" "job/$1" || { k describe "job/$1" | tail -5; k logs --all-containers --prefix -l "batch.kubernetes.io/job-name=$1"; return 1; }; }

kube kubectl delete namespace check --ignore-not-found --wait --timeout=60s >/dev/null 2>&1
kube kubectl delete crd,validatingadmissionpolicy,validatingadmissionpolicybinding,pv -l app=kube-check >/dev/null 2>&1
kube kubectl create namespace check >/dev/null
eventually 30 k get serviceaccount default >/dev/null 2>&1

# ------------------------------------------------------------------------------- API machinery, no pods needed
check "server version 1.35" says '"minor": "35"' k get --raw /version

cat >"$T/crd.yaml" <<'Y'
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.check.test, labels: {app: kube-check}}
spec:
  group: check.test
  scope: Namespaced
  names: {kind: Widget, plural: widgets, singular: widget, shortNames: [wd]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    additionalPrinterColumns: [{name: Phase, type: string, jsonPath: .status.phase}]
    selectableFields: [{jsonPath: .spec.mode}]
    schema:
      openAPIV3Schema:
        type: object
        required: [spec]
        properties:
          spec:
            type: object
            required: [mode]
            x-kubernetes-validations:
            - {rule: "self.mode != 'fixed' || has(self.size)", message: "fixed needs a size"}
            - {rule: "self.mode == oldSelf.mode", message: "mode is immutable"}
            properties:
              mode: {type: string, enum: [fixed, free]}
              size: {type: integer, minimum: 1, maximum: 9}
              retries: {type: integer, default: 3}
          status:
            type: object
            properties: {phase: {type: string}, observedGeneration: {type: integer}}
Y
widget() { printf 'apiVersion: check.test/v1\nkind: Widget\nmetadata: {name: %s}\nspec: %s\n' "$1" "$2"; }
check "CRD is established" eval 'k apply -f "$T/crd.yaml" && k wait --for=condition=Established --timeout=20s crd/widgets.check.test'
check "CEL: a valid object, defaults filled in" eval 'eventually 10 eval "widget w1 \"{mode: fixed, size: 3}\" | k apply --server-side -f -" && [ "$(k get wd w1 -o jsonpath={.spec.retries})" = 3 ]'
check "CEL: a rule refuses" refused "fixed needs a size" eval 'widget w2 "{mode: fixed}" | k create -f -'
check "CEL: a transition rule refuses" refused "mode is immutable" k patch wd w1 --type=merge -p '{"spec":{"mode":"free"}}'
check "strict field validation" refused "unknown field" eval 'widget w3 "{mode: free, colour: red}" | k create --validate=strict -f -'
check "status subresource is apart from spec" eval '
  k patch wd w1 --subresource=status --type=merge -p "{\"status\":{\"phase\":\"Ready\"},\"spec\":{\"size\":9}}" &&
  [ "$(k get wd w1 -o jsonpath={.status.phase}/{.spec.size}/{.metadata.generation})" = Ready/3/1 ]'
check "selectable field and printer column" says Ready k get wd --field-selector spec.mode=fixed
check "finalizer holds, then lets go" eval '
  k patch wd w1 --type=merge -p "{\"metadata\":{\"finalizers\":[\"check.test/hold\"]}}" && k delete wd w1 --wait=false &&
  [ -n "$(k get wd w1 -o jsonpath={.metadata.deletionTimestamp})" ] && k patch wd w1 --type=merge -p "{\"metadata\":{\"finalizers\":null}}" && k wait --for=delete wd/w1 --timeout=10s'
# the collector looks for new kinds every 30 s
check "garbage collection by ownerReference" eval '
  widget owner "{mode: free}" | k create -f - && uid=$(k get wd owner -o jsonpath={.metadata.uid}) &&
  printf "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: owned\n  ownerReferences: [{apiVersion: check.test/v1, kind: Widget, name: owner, uid: $uid}]\n" | k create -f - &&
  k delete wd owner && k wait --for=delete configmap/owned --timeout=75s'

cat >"$T/vap.yaml" <<'Y'
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: check-no-forbidden, labels: {app: kube-check}}
spec:
  failurePolicy: Fail
  matchConstraints: {resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [configmaps]}]}
  validations: [{expression: "!has(object.data) || !('forbidden' in object.data)", message: "the key forbidden is forbidden"}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: check-no-forbidden, labels: {app: kube-check}}
spec:
  policyName: check-no-forbidden
  validationActions: [Deny]
  matchResources: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: check}}}
Y
check "ValidatingAdmissionPolicy denies" eval 'k apply -f "$T/vap.yaml" && eventually 20 refused "forbidden is forbidden" k create configmap bad --from-literal=forbidden=1 --dry-run=server && k create configmap good --from-literal=fine=1'

cat >"$T/rbac.yaml" <<'Y'
apiVersion: v1
kind: ServiceAccount
metadata: {name: worker}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: worker}
rules:
- {apiGroups: [""], resources: [configmaps, pods], verbs: [get, list, watch]}
- {apiGroups: [""], resources: [events], verbs: [create]}
- {apiGroups: [coordination.k8s.io], resources: [leases], verbs: [get, create, update, patch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: worker}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: worker}
subjects: [{kind: ServiceAccount, name: worker}]
Y
check "RBAC: allowed and refused" eval '
  k apply -f "$T/rbac.yaml" && as=--as=system:serviceaccount:check:worker && k auth can-i list configmaps $as &&
  refused "cannot list resource" k get secrets $as && refused no k auth can-i delete configmaps $as'
check "TokenRequest: a bound token is who it says" eval '
  tok=$(k create token worker --duration=10m) && printf "apiVersion: authentication.k8s.io/v1\nkind: TokenReview\nmetadata: {name: x}\nspec: {token: $tok}\n" | k create -o jsonpath="{.status.user.username}" -f - | grep -q system:serviceaccount:check:worker'
check "Lease: optimistic locking" eval '
  printf "apiVersion: coordination.k8s.io/v1\nkind: Lease\nmetadata: {name: leader}\nspec: {holderIdentity: a, leaseDurationSeconds: 15}\n" | k create -f - &&
  old=$(k get lease leader -o json) && k patch lease leader --type=merge -p "{\"spec\":{\"holderIdentity\":\"b\"}}" && refused "object has been modified" eval "echo \"\$old\" | k replace -f -"'
check "watch sees a change" eval '
  timeout 20 "$KIT/kube" kubectl -n check get configmap -w --output-watch-events --no-headers >"$T/watch" & w=$!
  eventually 10 grep -q good "$T/watch" && k create configmap seen && eventually 10 grep -q "ADDED.*seen" "$T/watch"; r=$?; kill $w; wait $w; exit_=$r; [ $exit_ = 0 ]'
check "namespace with content is deleted" eval 'k create namespace check-gone && k -n check-gone create configmap x && kube kubectl delete namespace check-gone --timeout=40s'

if [ "$LIGHT" = --light ]; then
  check "Job controller makes a pod (that stays pending)" eval 'k create job j --image=registry.test/busybox:1 && eventually 20 says Pending k get pods -l batch.kubernetes.io/job-name=j'
  kube kubectl delete namespace check --wait=false >/dev/null
  echo "$PASS passed, $FAIL failed"
  [ $FAIL = 0 ]; exit
fi

# ------------------------------------------------------------------------------------------------------- pods
BB="image: registry.test/busybox:1, imagePullPolicy: Never"
k create cronjob tick --image=registry.test/busybox:1 --schedule='* * * * *' -- busybox echo tick >/dev/null # read at the end

check "Job: three completions, two at once" eval '
  printf "apiVersion: batch/v1\nkind: Job\nmetadata: {name: three}\nspec:\n  completions: 3\n  parallelism: 2\n  completionMode: Indexed\n  template:\n    spec:\n      restartPolicy: Never\n      containers: [{name: c, $BB, args: [sh, -c, \"echo index \$JOB_COMPLETION_INDEX\"]}]\n" | k create -f - && job_done three && says "index 2" k logs -l batch.kubernetes.io/job-completion-index=2'
check "Job: fails, backoffLimit, events" eval '
  printf "apiVersion: batch/v1\nkind: Job\nmetadata: {name: fails}\nspec:\n  backoffLimit: 1\n  template:\n    spec:\n      restartPolicy: Never\n      containers: [{name: c, $BB, args: [sh, -c, exit 7]}]\n" | k create -f - && k wait --for=condition=failed --timeout=60s job/fails &&
  says BackoffLimitExceeded k get events --field-selector involvedObject.name=fails && [ "$(k get pods -l batch.kubernetes.io/job-name=fails --no-headers | wc -l)" = 2 ]'
check "Job: podFailurePolicy FailJob, ttlSecondsAfterFinished" eval '
  printf "apiVersion: batch/v1\nkind: Job\nmetadata: {name: policy}\nspec:\n  backoffLimit: 5\n  ttlSecondsAfterFinished: 3\n  podFailurePolicy: {rules: [{action: FailJob, onExitCodes: {operator: In, values: [42]}}]}\n  template:\n    spec:\n      restartPolicy: Never\n      containers: [{name: c, $BB, args: [sh, -c, exit 42]}]\n" | k create -f - && k wait --for=condition=failed --timeout=60s job/policy && k wait --for=delete --timeout=30s job/policy'
check "Job: activeDeadlineSeconds" eval '
  printf "apiVersion: batch/v1\nkind: Job\nmetadata: {name: late}\nspec:\n  activeDeadlineSeconds: 2\n  template:\n    spec:\n      restartPolicy: Never\n      terminationGracePeriodSeconds: 1\n      containers: [{name: c, $BB, args: [sleep, \"1000\"]}]\n" | k create -f - && k wait --for=condition=failed --timeout=60s job/late && says DeadlineExceeded k get job late -o yaml'
check "memory limit: OOMKilled" eval '
  printf "apiVersion: v1\nkind: Pod\nmetadata: {name: oom}\nspec:\n  restartPolicy: Never\n  containers: [{name: c, $BB, args: [dd, if=/dev/zero, of=/dev/null, bs=300M, count=1], resources: {limits: {memory: 32Mi}}}]\n" | k create -f - && eventually 40 says OOMKilled k get pod oom -o yaml'

cat >"$T/strict.yaml" <<Y
apiVersion: v1
kind: ConfigMap
metadata: {name: conf}
data: {greeting: "hello from a ConfigMap"}
---
apiVersion: v1
kind: Secret
metadata: {name: cred}
stringData: {password: s3cret}
---
apiVersion: batch/v1
kind: Job
metadata: {name: strict}
spec:
  backoffLimit: 0
  template:
    spec:
      serviceAccountName: worker
      automountServiceAccountToken: false
      restartPolicy: Never
      terminationGracePeriodSeconds: 1
      securityContext: {runAsUser: 65534, runAsGroup: 65534, runAsNonRoot: true, fsGroup: 65534, seccompProfile: {type: RuntimeDefault}}
      initContainers:
      - {name: init, $BB, args: [sh, -c, "echo from-init > /w/x"], volumeMounts: [{name: w, mountPath: /w}]}
      - {name: sidecar, $BB, restartPolicy: Always, args: [sh, -c, "while :; do echo beat >> /w/beat; busybox sleep 0.2; done"], volumeMounts: [{name: w, mountPath: /w}]}
      containers:
      - name: main
        $BB
        env:
        - {name: PASSWORD, valueFrom: {secretKeyRef: {name: cred, key: password}}}
        - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
        args:
        - sh
        - -ec
        - |
          [ "\$(busybox cat /w/x)" = from-init ]; [ "\$PASSWORD" = s3cret ]; [ "\$(busybox cat /cred/password)" = s3cret ]
          busybox grep -q 'hello from a ConfigMap' /conf/greeting; [ "\$(busybox id -u)" = 65534 ]; [ -n "\$NODE" ]
          ! busybox touch /nope 2>/dev/null
          busybox grep -q 'CapEff:.*0000000000000000' /proc/self/status; busybox grep -q 'Seccomp:.*2' /proc/self/status
          busybox grep -q 'NoNewPrivs:.*1' /proc/self/status
          i=0; until busybox grep -q beat /w/beat; do i=\$((i+1)); [ \$i -lt 50 ]; busybox sleep 0.2; done
          [ \$(busybox wc -c </token/token) -gt 300 ]; busybox grep -q check /token/namespace
          echo all in force
        securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
        volumeMounts: [{name: w, mountPath: /w}, {name: conf, mountPath: /conf}, {name: cred, mountPath: /cred, readOnly: true}, {name: token, mountPath: /token}]
      volumes:
      - {name: w, emptyDir: {medium: Memory, sizeLimit: 16Mi}}
      - {name: conf, configMap: {name: conf}}
      - {name: cred, secret: {secretName: cred, defaultMode: 0440}}
      - name: token
        projected:
          sources:
          - {serviceAccountToken: {path: token, audience: somebody, expirationSeconds: 600}}
          - {downwardAPI: {items: [{path: namespace, fieldRef: {fieldPath: metadata.namespace}}]}}
Y
sed -i "s/^        image: registry.test\/busybox:1, imagePullPolicy: Never/        image: registry.test\/busybox:1\n        imagePullPolicy: Never/" "$T/strict.yaml"
check "restricted pod: Secret, ConfigMap, projected token, init, native sidecar" eval 'k apply -f "$T/strict.yaml" && job_done strict && says "all in force" k logs job/strict -c main'

# the whole way of an operator: a pod with its own ServiceAccount talks to the API (kubectl from the machine, by hostPath)
cat >"$T/api.yaml" <<Y
apiVersion: batch/v1
kind: Job
metadata: {name: api}
spec:
  backoffLimit: 0
  template:
    spec:
      serviceAccountName: worker
      restartPolicy: Never
      containers:
      - name: c
        image: registry.test/busybox:1
        imagePullPolicy: Never
        args: [sh, -c, "/tools/kubectl get configmap good -o name && ! /tools/kubectl get secrets && /tools/kubectl patch lease leader --type=merge -p '{\"spec\":{\"holderIdentity\":\"pod\"}}'"]
        volumeMounts: [{name: tools, mountPath: /tools, readOnly: true}]
      volumes: [{name: tools, hostPath: {path: "${KUBE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/milvus-backup-operator/kube}/bin", type: Directory}}]
Y
check "pod uses the API with its ServiceAccount (RBAC in force)" eval 'k apply -f "$T/api.yaml" && job_done api && [ "$(k get lease leader -o jsonpath={.spec.holderIdentity})" = pod ]'

cat >"$T/web.yaml" <<'Y'
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: w
        image: registry.test/busybox:1
        imagePullPolicy: Never
        args: [sh, -c, "echo web on $(busybox hostname) > /tmp/index.html; exec busybox httpd -f -v -p 8080 -h /tmp"]
        readinessProbe: {httpGet: {path: /index.html, port: 8080}, periodSeconds: 1}
        livenessProbe: {tcpSocket: {port: 8080}}
        ports: [{name: http, containerPort: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: NodePort, selector: {app: web}, ports: [{name: http, port: 80, targetPort: http, nodePort: 30080}]}
---
apiVersion: v1
kind: Service
metadata: {name: web-headless}
spec: {clusterIP: None, selector: {app: web}, ports: [{name: http, port: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: shell}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: c, image: registry.test/busybox:1, imagePullPolicy: Never, args: [sleep, "100000"]}]
Y
sh_() { k exec shell -- busybox timeout 5 busybox "$@"; } # (Debian's busybox wget dies of its own option -T)
check "Deployment becomes available" eval 'k apply -f "$T/web.yaml" && k rollout status deployment/web --timeout=60s && k wait --for=condition=Ready pod/shell --timeout=30s'
check "kubectl exec, with standard input and exit code" eval '[ "$(echo in | k exec -i shell -- busybox cat)" = in ]; k exec shell -- sh -c "exit 5"; [ $? = 5 ]'
check "DNS and Service IP from a pod" eventually 15 says "web on" sh_ wget -qO- http://web/index.html
check "DNS: full name, other namespace, headless, kubernetes" eval '
  says Address sh_ nslookup kubernetes.default.svc.cluster.local && eventually 10 eval "[ \$(sh_ nslookup web-headless.check.svc.cluster.local | grep -c Address.*10.244) = 2 ]" && refused "" sh_ nslookup nosuch.check.svc.cluster.local'
check "NodePort, Service IP and pod IP from outside (ext)" eval '
  says "web on" kube ext curl -fsS -m 5 http://10.99.0.1:30080/index.html && says "web on" kube ext curl -fsS -m 5 "http://$(k get svc web -o jsonpath={.spec.clusterIP})/index.html" &&
  says "web on" kube ext curl -fsS -m 5 "http://$(k get pod -l app=web -o jsonpath={.items[0].status.podIP}):8080/index.html"'
check "kubectl logs" eventually 10 says "response:200" k logs -l app=web --tail=50
"$KIT/kube" kubectl -n check port-forward svc/web :80 --address 127.0.0.1 >"$T/pf" 2>&1 & PIDS+=($!) # not by a function: kill must reach it
check "kubectl port-forward" eval 'eventually 10 grep -q Forwarding "$T/pf" && says "web on" curl -fsS -m 5 "http://127.0.0.1:$(sed -n "s/.*127.0.0.1:\([0-9]*\) .*/\1/p" "$T/pf" | head -1)/index.html"'
check "kubectl cp (tar in the container: busybox)" eval 'k exec shell -- sh -c "busybox ln -sf /bin/busybox /bin/tar; echo copied > /tmp/f" && k cp shell:/tmp/f "$T/f" && grep -q copied "$T/f"'
check "rolling update" eval 'k set env deployment/web X=1 && k rollout status deployment/web --timeout=60s'

# a server outside the cluster, reached from pods
mkdir "$T/www"; echo "outside the cluster" >"$T/www/index.html"
"$KIT/kube" ext python3 -m http.server 18300 --bind 0.0.0.0 --directory "$T/www" >"$T/www.log" 2>&1 & PIDS+=($!)
cat >"$T/outside.yaml" <<'Y'
apiVersion: v1
kind: Service
metadata: {name: outside}
spec: {ports: [{name: http, port: 80, targetPort: 18300}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: outside-1, labels: {kubernetes.io/service-name: outside}}
addressType: IPv4
ports: [{name: http, protocol: TCP, port: 18300}]
endpoints: [{addresses: [10.99.0.2], conditions: {ready: true}}]
---
apiVersion: v1
kind: Service
metadata: {name: alias}
spec: {type: ExternalName, externalName: host.kube.internal}
Y
check "outside server from a pod: by IP and by host.kube.internal" eval 'eventually 10 says outside sh_ wget -qO- http://10.99.0.2:18300/index.html && says outside sh_ wget -qO- http://host.kube.internal:18300/index.html'
check "outside server from a pod: selector-less Service + EndpointSlice" eval 'k apply -f "$T/outside.yaml" && eventually 15 says outside sh_ wget -qO- http://outside.check.svc/index.html'
check "outside server from a pod: ExternalName" eventually 10 says outside sh_ wget -qO- http://alias:18300/index.html
check "the cable cut and mended (kube cut, kube mend)" eval 'kube cut && refused "" sh_ wget -qO- http://10.99.0.2:18300/index.html; r=$?; kube mend; [ $r = 0 ] && eventually 15 says outside sh_ wget -qO- http://10.99.0.2:18300/index.html'
port=$(python3 -c 'import socket; s=socket.create_server(("127.0.0.1",0)); print(s.getsockname()[1])')
python3 -m http.server "$port" --bind 127.0.0.1 --directory "$T/www" >/dev/null 2>&1 & PIDS+=($!)
check "server on the machine's own loopback from a pod (kube publish)" eval 'kube publish $port 18301 && eventually 10 says outside sh_ wget -qO- http://host.kube.internal:18301/index.html'

cat >"$T/pv.yaml" <<Y
apiVersion: v1
kind: PersistentVolume
metadata: {name: check-pv, labels: {app: kube-check}}
spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], storageClassName: manual, persistentVolumeReclaimPolicy: Retain, hostPath: {path: "$T/pv", type: DirectoryOrCreate}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: claim}
spec: {accessModes: [ReadWriteOnce], storageClassName: manual, resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: writer}
spec:
  restartPolicy: Never
  containers: [{name: c, image: registry.test/busybox:1, imagePullPolicy: Never, args: [sh, -c, "echo kept > /data/f"], volumeMounts: [{name: d, mountPath: /data}]}]
  volumes: [{name: d, persistentVolumeClaim: {claimName: claim}}]
Y
check "PersistentVolume by hostPath" eval 'k apply -f "$T/pv.yaml" && k wait --for=jsonpath={.status.phase}=Succeeded --timeout=40s pod/writer && [ "$(cat "$T/pv/f")" = kept ]'
check "40 Jobs at once" eval '
  for i in $(seq 40); do printf -- "---\napiVersion: batch/v1\nkind: Job\nmetadata: {name: many-$i, labels: {many: x}}\nspec: {template: {spec: {restartPolicy: Never, containers: [{name: c, $BB, args: [sleep, \"1\"]}]}}}\n"; done | k create -f - >/dev/null && k wait --for=condition=complete --timeout=150s job -l many=x >/dev/null'
mkdir -p "$T/chart/templates"
printf 'apiVersion: v2\nname: c\nversion: 0.1.0\n' >"$T/chart/Chart.yaml"
printf 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}}\ndata: {v: "{{ .Values.v }}"}\n' >"$T/chart/templates/cm.yaml"
check "helm install, upgrade, uninstall" eval '
  kube helm -n check install rel "$T/chart" --set v=1 && kube helm -n check upgrade rel "$T/chart" --set v=2 && [ "$(k get cm rel -o jsonpath={.data.v})" = 2 ] && kube helm -n check uninstall rel'
check "CronJob: made by hand and by the clock" eval 'k create job by-hand --from=cronjob/tick && job_done by-hand && eventually 75 says tick- k get jobs'

kube kubectl delete namespace check --timeout=90s >/dev/null 2>&1
kube kubectl delete crd,validatingadmissionpolicy,validatingadmissionpolicybinding,pv -l app=kube-check >/dev/null 2>&1
echo "$PASS passed, $FAIL failed"
[ $FAIL = 0 ]
