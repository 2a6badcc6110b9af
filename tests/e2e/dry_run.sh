# What tests/e2e/test_dry_run.py asks of a dry run, a command a line: "+" must work, "-" must fail, "?" may do either.
# `there` is an object of each kind in the namespace $NS, `web` a Deployment that runs, `kept` a release of helm.
# $KINDS are those kinds; there/ and made/ have a manifest for each.

# It reads as it always did
+ kubectl get all,configmaps,secrets
+ kubectl describe pods,secrets
+ kubectl logs deployment/web
+ kubectl auth can-i create pods && kubectl auth whoami
+ kubectl top nodes || kubectl get nodes
+ helm list | grep kept && helm status kept && helm history kept

# Created, applied, replaced
+ kubectl create configmap made --from-literal=a=b
+ kubectl create configmap made --from-literal=a=b --dry-run=server
+ kubectl create secret generic made --from-literal=a=b
+ kubectl create secret docker-registry made --docker-username=u --docker-password=p
+ kubectl create serviceaccount made
+ kubectl create role made --verb=get --resource=pods
+ kubectl create rolebinding made --clusterrole=cluster-admin --serviceaccount=$NS:there
+ kubectl create clusterrole $NS-made --verb='*' --resource='*'
+ kubectl create clusterrolebinding $NS-made --clusterrole=cluster-admin --serviceaccount=$NS:there
+ kubectl create deployment made --image=x --replicas=2
+ kubectl create job made --image=x
+ kubectl create job made --from=cronjob/there
+ kubectl create cronjob made --image=x --schedule='* * * * *'
+ kubectl create quota made --hard=pods=1
+ kubectl create service nodeport made --tcp=80
+ kubectl create ingress made --rule=a.b/=c:80
+ kubectl create poddisruptionbudget made --selector=app=objects --min-available=1
+ kubectl create priorityclass $NS-made --value=1
+ kubectl create namespace $NS-made
+ kubectl create -f - <<<'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"generateName":"made-"}}'
+ kubectl create --raw /api/v1/namespaces/$NS/configmaps -f made/configmaps.json
+ kubectl create -f made/
+ kubectl apply -f made/
+ kubectl apply -f there/
+ kubectl apply --server-side --force-conflicts -f there/
+ kubectl apply --server-side -f made/
+ kubectl apply --dry-run=server -f made/
+ kubectl replace -f there/configmaps.json
- kubectl replace -f made/configmaps.json
? kubectl replace --force -f there/configmaps.json --timeout=2s
? kubectl diff -f there/
+ kubectl run made --image=x
+ kubectl run made --image=x --restart=Never --command -- sleep 1
+ kubectl expose deployment/web --port=80 --name=made
+ kubectl autoscale deployment/web --max=3 --cpu=50%
+ kubectl apply -f - <<<'{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"things.'$NS'.example.com"},"spec":{"group":"'$NS'.example.com","scope":"Namespaced","names":{"plural":"things","kind":"Thing"},"versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object"}}}]}}'

# Changed
+ kubectl label $KINDS --all tried=yes
+ kubectl annotate $KINDS --all tried=yes
+ for kind in ${KINDS//,/ }; do kubectl patch $kind there --type=merge -p '{"metadata":{"labels":{"objects":null}}}' || exit; done
+ kubectl label namespace $NS tried=yes
+ kubectl patch configmap there -p '{"data":{"a":"changed"}}'
+ kubectl patch configmap there --type=merge -p '{"data":null}'
+ kubectl patch configmap there --type=json -p '[{"op":"remove","path":"/data/a"}]'
+ kubectl patch deployment web -p '{"spec":{"template":{"metadata":{"annotations":{"a":"b"}}}}}'
+ kubectl patch deployment web --subresource=scale --type=merge -p '{"spec":{"replicas":3}}'
+ kubectl patch deployment web --subresource=status --type=merge -p '{"status":{"replicas":9}}'
+ KUBE_EDITOR='sed -i s/objects/edited/' kubectl edit configmap there
+ kubectl set image deployment/web '*=x'
+ kubectl set env deployment/web A=b
+ kubectl set env --from=secret/there deployment/web
+ kubectl set resources deployment/web --limits=cpu=1
+ kubectl set serviceaccount deployment/web there
+ kubectl set selector service/there app=other
+ kubectl set subject rolebinding/there --user=me
+ kubectl scale deployment/web --replicas=0
+ kubectl scale deployment/web --replicas=3 --timeout=2s
+ kubectl scale statefulset,replicaset --all --replicas=2
+ kubectl rollout restart deployment/web
+ kubectl rollout pause deployment/web
- kubectl rollout resume deployment/web
? kubectl rollout undo deployment/web
+ kubectl rollout status deployment/web --timeout=2s
+ jq ".metadata.namespace=\"$NS\" | .rules[0].verbs=[\"watch\"]" there/roles.json | kubectl auth reconcile -f -
+ jq ".metadata.namespace=\"$NS\"" made/roles.json | kubectl auth reconcile -f -
+ kubectl certificate approve none || true

+ kubectl label clusterrole $NS-there tried=yes
+ kubectl patch clusterrole $NS-there --type=merge -p '{"rules":[{"verbs":["*"],"apiGroups":["*"],"resources":["*"]}]}'
+ kubectl annotate priorityclass $NS-there tried=yes

# Deleted
+ kubectl delete configmap there
+ kubectl delete configmap there --wait=true --timeout=5s
+ kubectl delete deployment web --cascade=foreground
+ kubectl delete deployment web --cascade=orphan --now
+ kubectl delete pods --all --force --grace-period=0 --wait=false
+ kubectl delete pods,configmaps,secrets,services -l objects=yes
+ kubectl delete all --all
+ kubectl delete $KINDS -l objects=yes --timeout=5s
- kubectl delete secrets --all  # without its release a chart could not be uninstalled any more, and its manifest is masked
+ kubectl delete -f there/
+ kubectl delete --raw /api/v1/namespaces/$NS/configmaps/there
+ kubectl delete namespace $NS
+ kubectl delete clusterrole,priorityclass $NS-there
+ kubectl delete clusterroles -l there=$NS
- kubectl delete configmap made
+ kubectl create -f - --raw /api/v1/namespaces/$NS/pods/there/eviction <<<'{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"there"},"deleteOptions":{"dryRun":[]}}'

# Nodes
+ kubectl cordon $NODE
? kubectl uncordon $NODE
+ kubectl taint node $NODE tried=yes:NoSchedule
+ kubectl label node $NODE tried=yes
? kubectl drain $NODE --pod-selector=app=web-$NS --force --ignore-daemonsets --delete-emptydir-data --timeout=2s

# Releases
? helm install made chart
? helm upgrade kept chart --set x=y
? helm upgrade --install other chart --timeout=2s
? helm rollback kept 1
? helm uninstall kept
? helm uninstall kept --cascade=foreground --keep-history
+ helm template made chart | kubectl apply -f -
+ helm template made chart | kubectl delete --ignore-not-found -f -

# What cannot be tried is refused
- kubectl create token there
- kubectl create token there --duration=1h --audience=x
- kubectl create token default --bound-object-kind=Pod --bound-object-name=there
- kubectl create --raw "/api/v1/namespaces/$NS/serviceaccounts/there/token?dryRun=All" -f - <<<'{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{}}'
- kubectl exec deployment/web -- touch /tmp/x
- kubectl cp there web:/tmp
- kubectl attach deployment/web
- timeout 5 kubectl port-forward deployment/web 8080:80
- kubectl get --raw /api/v1/namespaces/$NS/pods/there/proxy/
- kubectl get --raw /api/v1/nodes/$NODE/proxy/pods
+ kubectl create -f - <<<'{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","metadata":{"name":"x"},"spec":{"token":"x"}}'
- kubectl create --raw /logs -f made/configmaps.json
- kubectl --as=there create token there
+ kubectl create -f - <<<'{"apiVersion":"v1","kind":"Secret","metadata":{"name":"made","annotations":{"kubernetes.io/service-account.name":"there"}},"type":"kubernetes.io/service-account-token"}'
- timeout 5 kubectl get secret made
