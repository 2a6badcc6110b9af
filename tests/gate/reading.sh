# Commands that read, in the form that tests/gate/scripts.py reads: each must answer through the gate as it does without it.
# `k` is kubectl in the script's namespace, `h` helm; the pod `web` is there, serves HTTP on port 8080 and logs a line at
# its start.

### get
k get pods

### get wide
k get pods,services,configmaps --output=wide

### get json
k get pod/web --output=json --show-managed-fields | jq 'del(.metadata.managedFields, .spec, .status)'

### get yaml
kubectl get namespace/$NS -o yaml

### get name
k get all --output=name

### get jsonpath
k get pods -o jsonpath='{range .items[*]}{.metadata.name} {.status.phase}{"\n"}{end}'

### get columns
k get pods --output=custom-columns=N:.metadata.name,P:.status.phase

### get labels
k get pods --selector=app=web --show-labels --sort-by=.metadata.name

### get field selector
k get pods --field-selector=status.phase=Running,metadata.name=web

### get nothing
k get pods --selector=app=none; k get pod/none

### get unknown kind
k get things; k get things.example.com/x

### get everywhere
kubectl get namespaces,nodes --no-headers | awk '{print $1}' | grep -v ^gate-

### get chunks
kubectl get clusterroles --chunk-size=7 | wc -l

### get subresource
k get pod/web --subresource=status -o jsonpath='{.status.phase}'

### get raw
kubectl get --raw /api/v1/namespaces/$NS/pods/web | jq .metadata.name; kubectl get --raw /none

### get raw paths
for path in / /api /apis /version /apis/apps/v1 /openapi/v3; do kubectl get --raw $path | md5sum; done

### openapi
kubectl get --raw /openapi/v2 | wc -c; kubectl get --raw /openapi/v3/apis/apps/v1 | jq -S . | md5sum

### healthz
kubectl get --raw /healthz; kubectl get --raw '/readyz?verbose'

### metrics
kubectl get --raw /metrics | grep -c '^# TYPE' | awk '{print $1 > 100}'

### describe
k describe pod/web | sed -n '1,12p'; k describe pod/none

### describe node
kubectl describe nodes | head -3

### explain
kubectl explain pod.spec.containers.image; kubectl explain deployment --recursive | md5sum; kubectl explain none

### api-resources
kubectl api-resources; kubectl api-resources --verbs=list --namespaced -o name | sort

### api-versions
kubectl api-versions

### version
kubectl version; kubectl version --output=json

### cluster-info
kubectl cluster-info | head -1

### top
kubectl top nodes; k top pods

### can-i
k auth can-i create pods; k auth can-i --list | head -3; k auth can-i get pods --as=jane

### whoami
kubectl auth whoami; kubectl auth whoami -o json

### as
k get pods --as=jane; k get pods --as=jane --as-group=system:masters; k get pods --as=x --as-uid=1

### logs
k logs web; k logs pod/web --tail=1; k logs --selector=app=web --prefix; k logs none; k logs web -c none

### events
k events --types=Normal | wc -l | awk '{print ($1 > 0)}'; k get events -o name | head -1 | cut -d. -f1

### wait
k wait --for=condition=Ready pod/web --timeout=20s; k wait --for=delete pod/web --timeout=1s

### config
kubectl config get-contexts -o name; kubectl config current-context

### timeout
k get pods --request-timeout=1s; k get pods --watch-only --request-timeout=1s

### proxy
kubectl get --raw /api/v1/namespaces/$NS/pods/web:8080/proxy/; kubectl get --raw /api/v1/namespaces/$NS/pods/web:8080/proxy/none

### proxy of a node
node=$(kubectl get nodes -o name | head -1); kubectl get --raw /api/v1/nodes/${node#node/}/proxy/healthz

### strange names
k get configmap 'a:b'; k get configmap 'ü'; k get configmap 'a b'; kubectl get clusterrole system:node -o name
