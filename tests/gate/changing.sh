# Commands that change something, in the form that tests/gate/scripts.py reads: each must answer through the gate as it does without it.
# `k` is kubectl in the script's namespace, `h` helm; the pod `web` is there, serves HTTP on port 8080 and logs a line at
# its start.

### create
k create configmap one --from-literal=a=b; k create configmap one --from-literal=a=b; k get cm/one -o jsonpath='{.data}'

### create many kinds
k create serviceaccount many; k create role many --verb=get --resource=pods; k create quota many --hard=pods=100
k create rolebinding many --role=many --serviceaccount=$NS:many; k create service clusterip many --tcp=80
k create secret generic many --from-literal=a=b; k create secret tls many2 --cert=/none --key=/none
k create cronjob many --image=$IMAGE --schedule='0 0 1 1 *'; k create priorityclass none --value=1 --dry-run=client
k create poddisruptionbudget many --selector=app=none --min-available=1; k create ingress many --rule=a.b/=c:80

### create by name
for i in 1 2 3; do k create -o name -f - <<<'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"generateName":"made-"}}'; done |
    sed 's/-.*//'

### create raw
kubectl create --raw /api/v1/namespaces/$NS/configmaps -f - <<<'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"raw"}}' |
    jq .metadata.name
kubectl delete --raw /api/v1/namespaces/$NS/configmaps/raw; kubectl delete --raw /api/v1/namespaces/$NS/configmaps/raw

### create wrong
k create -f - <<<'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"Wrong"},"more":1}'

### apply
apply() { k apply -f - <<<'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"applied","labels":{"l":"'$1'"}},"data":{"'$1'":"x"}}'; }
apply a; apply a; apply b; k get cm/applied -o json | jq '.data, .metadata.labels'; k apply view-last-applied cm/applied
k diff -f - <<<'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"applied"},"data":{"b":"y"}}' | grep '^[-+] '
k apply --prune -l l=b --prune-allowlist=core/v1/ConfigMap -f - <<<'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"next","labels":{"l":"b"}}}'
k get cm/applied

### apply on the server
apply() { k apply --server-side "$@" -f - <<<'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"ssa"},"data":{"a":"'$value'"}}'; }
value=1; apply; value=2; apply --field-manager=other; apply --field-manager=other --force-conflicts; value=3 apply --dry-run=server
k get cm/ssa -o json --show-managed-fields | jq '.data, [.metadata.managedFields[].manager]'

### edit
k create configmap edited --from-literal=a=before
KUBE_EDITOR="sed -i s/before/after/" k edit cm/edited; k get cm/edited -o jsonpath='{.data.a}'; KUBE_EDITOR=true k edit cm/edited

### patch
k create configmap patched --from-literal=a=b
k patch cm/patched -p '{"data":{"b":"c"}}'; k patch cm/patched --type=merge -p '{"data":{"a":null}}'
k patch cm/patched --type=json -p '[{"op":"add","path":"/data/c","value":"d"},{"op":"test","path":"/data/b","value":"c"}]'
k patch cm/patched --type=json -p '[{"op":"test","path":"/data/b","value":"other"}]'; k patch cm/patched -p 'none'
k get cm/patched -o jsonpath='{.data}'

### label and annotate
k create configmap marked; k label cm/marked a=b; k label cm/marked a=c; k label cm/marked a=c --overwrite; k annotate cm/marked x=y
k label cm/marked a-; k get cm/marked -o json | jq '.metadata.labels, .metadata.annotations'

### replace
k create configmap replaced --from-literal=a=b
k replace -f - <<<'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"replaced"},"data":{"a":"c"}}'
k replace --force -f - <<<'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"replaced"},"data":{"a":"d"}}'
k replace -f - <<<'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"replaced","resourceVersion":"1"},"data":{"a":"d"}}'
k get cm/replaced -o jsonpath='{.data}'

### set
k create deployment set --image=$IMAGE --replicas=0; k set image deployment/set '*=other'; k set env deployment/set A=b
k set resources deployment/set --limits=cpu=1; k get deployment/set -o jsonpath='{.spec.template.spec.containers}'

### delete
k create configmap gone; k delete cm/gone; k delete cm/gone; k delete cm/gone --ignore-not-found
for i in 1 2; do k create configmap gone$i; k label cm/gone$i del=yes; done; k delete cm -l del=yes; k delete cm --field-selector=metadata.name=gone3
k create configmap kept; k delete cm/kept --dry-run=server; k delete cm/kept --dry-run=client; k get cm/kept -o name

### delete with each policy
for policy in background foreground orphan; do
    k create deployment of-$policy --image=$IMAGE --replicas=0
    k wait --for=jsonpath='{.status.observedGeneration}'=1 deployment/of-$policy --timeout=30s
    k delete deployment/of-$policy --cascade=$policy --wait; k get deployment/of-$policy
    [[ $policy != orphan ]] || k get replicasets -l app=of-orphan -o name | wc -l
done

### delete a pod
k run short --image=$IMAGE --restart=Never -- sleep 600; k wait --for=condition=Ready pod/short --timeout=40s
k delete pod/short --grace-period=1 --wait; k get pod/short; k run short --image=$IMAGE -- sleep 600; k delete pod/short --now
k delete pod/short --force --grace-period=0

### scale and roll out
k create deployment rolled --image=$IMAGE --replicas=1 -- sleep 600; k rollout status deployment/rolled --timeout=40s | tail -1
k scale deployment/rolled --replicas=2; k scale deployment/rolled --current-replicas=9 --replicas=1
k set env deployment/rolled A=b; k rollout status deployment/rolled --timeout=50s | tail -1; k rollout history deployment/rolled
k rollout undo deployment/rolled; k rollout restart deployment/rolled; k rollout pause deployment/rolled; k rollout resume deployment/rolled
k get deployment/rolled -o jsonpath='{.spec.replicas}'; k delete deployment/rolled --now

### expose and autoscale
k create deployment shown --image=$IMAGE --replicas=0; k expose deployment/shown --port=80; k autoscale deployment/shown --max=3 --cpu=50%
k get service/shown -o jsonpath='{.spec.ports}'; k get hpa/shown -o jsonpath='{.spec.maxReplicas}'

### run
k run once --image=$IMAGE --restart=Never --rm --attach --quiet -- sh -c 'echo out; sleep 1; exit 0'

### run with input
echo from stdin | k run fed --image=$IMAGE --restart=Never --rm --stdin --quiet -- cat

### job
k create job work --image=$IMAGE -- sh -c 'echo worked'; k wait --for=condition=Complete job/work --timeout=40s; k logs job/work
k delete job/work

### exec
k exec web -- echo out; k exec web -- sh -c 'echo err >&2; exit 7'; echo $?; echo in | k exec -i web -- cat; k exec none -- true
k exec web -c none -- true; k exec web -- none

### attach
k attach web --container=none; echo | timeout 3 kubectl --namespace=$NS attach web -i </dev/null; echo $?

### cp
head -c 300000 /dev/zero | tr '\0' x >file; echo inner >>file; k cp file web:/tmp/file; k exec web -- md5sum /tmp/file
# What tar says in the pod is left out: kubectl ends with tar's output, and does not wait for its errors to arrive.
k cp web:/tmp/file back 2>/dev/null; cmp file back && echo same; mkdir -p d/e; echo 1 >d/e/f; k cp d web:/tmp/d; k exec web -- cat /tmp/d/e/f

### debug
k debug web --image=$IMAGE --container=look --profile=general -- true
k get pod/web -o jsonpath='{.spec.ephemeralContainers[*].name}'
k debug web --image=$IMAGE --copy-to=copied --container=look --profile=general -- true; k delete pod/copied --now

### port-forward
kubectl --namespace=$NS port-forward pod/web :8080 >said 2>&1 & trap "kill $!" EXIT
until port=$(grep -om1 '127.0.0.1:[0-9]*' said); do sleep 0.05; kill -0 $!; done
for i in 1 2 3; do python3 -c 'import urllib.request, sys; print(urllib.request.urlopen(sys.argv[1]).read())' http://$port/; done

### tokens
k create serviceaccount tokens; k create token tokens | cut -d. -f1 | base64 -d | jq .alg; k create token none

### evict
k run evicted --image=$IMAGE --restart=Never -- sleep 600; k wait --for=condition=Ready pod/evicted --timeout=40s
kubectl create --raw /api/v1/namespaces/$NS/pods/evicted/eviction -f - <<<'{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"evicted"},
    "deleteOptions":{"gracePeriodSeconds":0}}'
k delete pod/evicted --now --ignore-not-found >/dev/null

### custom resources
group=$(echo $NS | tr -d -).example.com; { cat <<EOF
{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"things.$group"},"spec":{"group":"$group",
 "scope":"Namespaced","names":{"plural":"things","kind":"Thing"},"versions":[{"name":"v1","served":true,"storage":true,"schema":
 {"openAPIV3Schema":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}]}}
EOF
} | kubectl create -f - >/dev/null; kubectl wait --for=condition=Established crd/things.$group >/dev/null
until k get things.$group >/dev/null 2>&1; do sleep 0.1; done
k apply -f - <<<'{"apiVersion":"'$group'/v1","kind":"Thing","metadata":{"name":"x"},"spec":{"a":1}}' | cut -d' ' -f2
k get things.$group; k patch things.$group x --type=merge -p '{"spec":{"b":2}}' | cut -d' ' -f2; k get things.$group x -o jsonpath='{.spec}'
k delete things.$group --all | cut -d' ' -f3-; kubectl delete crd/things.$group >/dev/null; echo $?

### watch
kubectl --namespace=$NS get configmaps --watch-only --output-watch-events --output=custom-columns=T:.type,N:.object.metadata.name >seen & trap "kill $!" EXIT
until grep -q 'ADDED *watched' seen; do k create configmap watched; k delete configmap watched; done >/dev/null
until grep -q 'DELETED *watched' seen; do sleep 0.05; done; grep -m1 -o 'ADDED *watched' seen

### logs followed
k run talks --image=$IMAGE --restart=Never -- sh -c 'for i in 1 2 3 4 5; do echo $i; sleep 0.2; done'
k wait --for=jsonpath='{.status.phase}'=Running pod/talks --timeout=40s; k logs -f talks; k delete pod/talks --now

### helm
rm -rf chart; helm create chart >/dev/null; sed -i "s/replicaCount: 1/replicaCount: 0/" chart/values.yaml
h install web chart --wait; h install web chart; h list; h status web | head -5; h upgrade web chart --set replicaCount=0,x=y; h history web
h get values web; h get manifest web | md5sum; h rollback web 1; h list -o json | jq '.[].revision'; h upgrade none chart
h template web chart --validate | head -3; h test web --timeout=1s >/dev/null 2>&1; echo $?; h uninstall web --wait; h list; h status web
k delete --now pod web-chart-test-connection

### namespaces
kubectl create namespace $NS-x; kubectl delete namespace $NS-x --wait=false; kubectl delete namespace $NS-none
