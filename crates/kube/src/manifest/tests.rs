use super::*;

fn read_text(text: &str) -> Result<Manifests, Problems> {
    read(&[Source::new("app.yaml", text)], &Options::default())
}

/// The problems of an invalid text, one per line.
fn problems(text: &str) -> String {
    read_text(text)
        .expect_err("the text has an error")
        .to_string()
}

#[track_caller]
fn refused(text: &str, expected: &str) {
    let problems = problems(text);
    assert!(
        problems.contains(expected),
        "expected\n  {expected}\nin\n{problems}"
    );
}

const NODE: &str = "\
apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata:
  name: front
  namespace: shop
spec:
  listeners:
    - portMapping:
        port: 8080
        protocol: http
  serviceDiscovery: {dns: {hostname: front.shop}}
";

#[test]
fn every_problem_of_every_file_is_reported_with_its_line() {
    let first = Source::new(
        "nodes.yaml",
        "apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualNode
metadata:
  name: front
  namespace: shop
spec:
  listeners:
    - portMapping:
        port: 0
        protocol: http
      healthChek: {}
      outlierDetection:
        maxServerErrors: 0
        interval: {unit: s, value: 10}
        baseEjectionDuration: {unit: s, value: -1}
        maxEjectionPercent: 200
---
apiVersion: v1
kind: Gizmo
metadata: {name: x}
",
    );
    let second = Source::new(
        "routes.yaml",
        "apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualRouter
metadata:
  name: Front_Router
spec:
  routes:
    - name: all
      httpRoute:
        match: {prefix: /}
        action:
          weightedTargets:
            - virtualNodeRef: {name: front}
              weight: 101
            - weight: 1
",
    );
    let problems = read(&[first, second], &Options::default())
        .expect_err("both have errors")
        .to_string();
    insta::assert_snapshot!(problems, @r#"
    nodes.yaml:6: VirtualNode shop/front: spec.serviceDiscovery: is required, because spec.listeners is given: give awsCloudMap or dns
    nodes.yaml:9: VirtualNode shop/front: spec.listeners[0].portMapping.port: 0 is out of range; it must be from 1 to 65535
    nodes.yaml:11: VirtualNode shop/front: spec.listeners[0].healthChek: VirtualNode has no such field; check its spelling and its indentation
    nodes.yaml:13: VirtualNode shop/front: spec.listeners[0].outlierDetection.maxServerErrors: 0 is out of range; it must be at least 1
    nodes.yaml:15: VirtualNode shop/front: spec.listeners[0].outlierDetection.baseEjectionDuration.value: -1 is out of range; it must be at least 0
    nodes.yaml:16: VirtualNode shop/front: spec.listeners[0].outlierDetection.maxEjectionPercent: 200 is out of range; it must be from 0 to 100
    nodes.yaml:19: kind Gizmo of apiVersion v1 is not known; known are Namespace (v1), Deployment (apps/v1), Service (v1), ConfigMap (v1), Secret (v1), Pod (v1), and Mesh, VirtualNode, VirtualRouter, VirtualService, VirtualGateway, GatewayRoute, BackendGroup (appmesh.k8s.aws/v1beta2)
    routes.yaml:4: VirtualRouter default/Front_Router: metadata.name: "Front_Router" is not a name; use lower case letters, digits, - and ., at most 253, a letter or digit at both ends
    routes.yaml:13: VirtualRouter default/Front_Router: spec.routes[0].httpRoute.action.weightedTargets[0].weight: 101 is out of range; it must be from 0 to 100
    routes.yaml:14: VirtualRouter default/Front_Router: spec.routes[0].httpRoute.action.weightedTargets[1]: needs virtualNodeRef or virtualNodeARN
    "#);
}

#[test]
fn a_value_of_the_wrong_type_is_named_with_its_field() {
    let port = NODE.replace("8080", "eighty");
    refused(
        &port,
        "app.yaml:9: VirtualNode shop/front: spec.listeners[0].portMapping.port: ",
    );
    refused(
        &NODE.replace("8080", "70000"),
        "expected a port number from 1 to 65535",
    );
    refused(
        &NODE.replace("protocol: http", "protocol: smtp"),
        "app.yaml:10: VirtualNode shop/front: spec.listeners[0].portMapping.protocol: unknown variant `smtp`",
    );
    refused(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata:\n  PORT: 8080\n",
        "app.yaml:5: ConfigMap default/c: data.PORT: invalid type: integer `8080`, expected a string; put it in quotes",
    );
}

#[test]
fn a_missing_field_is_named() {
    refused(
        &NODE.replace("        protocol: http\n", ""),
        "spec.listeners[0].portMapping: missing field `protocol`",
    );
}

#[test]
fn unknown_fields_are_errors_warnings_or_nothing_as_asked() {
    let text = NODE.replace("spec:\n", "spec:\n  podSelectr: {}\n");
    refused(
        &text,
        "app.yaml:7: VirtualNode shop/front: spec.podSelectr: VirtualNode has no such field",
    );
    let read_with = |strictness| {
        let options = Options {
            strictness,
            ..Options::default()
        };
        read(&[Source::new("app.yaml", text.as_str())], &options)
            .expect("not an error")
            .warnings
            .len()
    };
    assert_eq!(read_with(Strictness::Warn), 1);
    assert_eq!(read_with(Strictness::Ignore), 0);
}

#[test]
fn unknown_fields_deep_inside_kubernetes_kinds_are_found() {
    refused(
        "apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  containers:
    - name: a
      image: b
      enviroment: []
",
        "app.yaml:8: Pod default/p: spec.containers[0].enviroment: Pod has no such field",
    );
}

#[test]
fn tolerated_fields_of_public_walkthroughs_are_warnings_even_when_strict() {
    let manifests = read_text(
        "apiVersion: appmesh.k8s.aws/v1beta2
kind: VirtualRouter
metadata: {name: redis}
spec:
  routes:
    - name: r
      tcpRoute:
        match: {prefix: /}
        action:
          weightedTargets: [{virtualNodeRef: {name: redis}, weight: 1}]
",
    )
    .expect("a stray is no error");
    assert_eq!(
        manifests.warnings[0].to_string(),
        "app.yaml:8: VirtualRouter default/redis: spec.routes[0].tcpRoute.match.prefix: \
         a tcpRoute cannot match a path; the field is ignored"
    );
}

#[test]
fn the_same_object_twice_with_different_content_is_refused_with_both_places() {
    let sources = [
        Source::new("a.yaml", NODE),
        Source::new("b.yaml", format!("---\n{NODE}").replace("8080", "8081")),
    ];
    let problems = read(&sources, &Options::default())
        .expect_err("a contradiction")
        .to_string();
    assert_eq!(
        problems,
        "b.yaml:5: VirtualNode shop/front: metadata.name: is given twice, and it differs from a.yaml:4; \
         remove one of them"
    );
}

#[test]
fn the_same_document_in_two_files_is_one_object() {
    let sources = [
        Source::new("a.yaml", NODE),
        Source::new("b.yaml", format!("# copied\n---\n{NODE}")),
    ];
    let manifests = read(&sources, &Options::default()).expect("they are the same");
    assert_eq!(manifests.objects.len(), 1);
    assert_eq!(manifests.objects[0].origin.file(), "a.yaml");
}

#[test]
fn a_namespace_is_put_together_from_all_its_documents() {
    let namespace = |labels: &str| {
        format!(
            "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: shop\n  labels: {{{labels}}}\n"
        )
    };
    let sources = |second: &str| {
        [
            Source::new("a.yaml", namespace("mesh: shop, team: blue")),
            Source::new("b.yaml", namespace(second)),
        ]
    };
    let manifests = read(&sources("tier: front"), &Options::default()).expect("they agree");
    let labels = manifests.objects[0]
        .object
        .metadata()
        .labels
        .clone()
        .expect("labels");
    let labels: Vec<(&str, &str)> = labels
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    assert_eq!(
        labels,
        [("mesh", "shop"), ("team", "blue"), ("tier", "front")]
    );
    assert_eq!(manifests.objects.len(), 1);
    let problems = read(&sources("team: red"), &Options::default()).expect_err("a contradiction");
    assert_eq!(
        problems.to_string(),
        "b.yaml:5: Namespace shop: metadata.labels.team: is given twice, and its value differs from a.yaml:5; \
         remove one of them"
    );
}

#[test]
fn one_name_in_two_kinds_groups_or_namespaces_is_no_duplicate() {
    let elsewhere = NODE.replace("namespace: shop", "namespace: other");
    let istio =
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: front}\n";
    let mesh =
        "apiVersion: appmesh.k8s.aws/v1beta2\nkind: VirtualService\nmetadata: {name: front}\n";
    let manifests = read_text(&[NODE, &elsewhere, istio, mesh].join("---\n")).expect("all differ");
    assert_eq!(manifests.objects.len(), 4);
}

#[test]
fn old_versions_say_how_to_migrate() {
    refused(
        "apiVersion: appmesh.k8s.aws/v1beta1\nkind: VirtualNode\nmetadata: {name: x}\n",
        "app.yaml:2: appmesh.k8s.aws/v1beta1 is not read; `tombolo convert` rewrites it as appmesh.k8s.aws/v1beta2",
    );
    refused(
        "apiVersion: extensions/v1beta1\nkind: Deployment\n",
        "write apiVersion: apps/v1",
    );
    refused(
        "apiVersion: appmesh.k8s.aws/v1beta2\nkind: Route\n",
        "has no kind Route; it has Mesh, VirtualNode,",
    );
    refused(
        "apiVersion: v1\nkind: Gizmo\n",
        "app.yaml:2: kind Gizmo of apiVersion v1 is not known; known are Namespace (v1),",
    );
}

#[test]
fn documents_that_are_no_objects_are_refused_and_empty_ones_skipped() {
    refused("- a\n- b\n", "app.yaml:1: is not a Kubernetes object");
    refused(
        "metadata: {name: x}\nkind: Pod\n",
        "app.yaml:1: has no apiVersion",
    );
    refused("---\n---\napiVersion: v1\n", "app.yaml:3: has no kind");
    assert_eq!(
        read_text("---\n# nothing\n---\n---\n")
            .expect("empty")
            .objects
            .len(),
        0
    );
}

#[test]
fn text_that_is_not_yaml_is_refused_with_its_line_and_the_documents_before_it_are_still_judged() {
    let problems = problems("apiVersion: v1\nkind: Gizmo\n---\na: [1\nb: 2\n");
    assert!(problems.contains("app.yaml:2: kind Gizmo"), "{problems}");
    assert!(problems.contains(": not YAML: "), "{problems}");
}

#[test]
fn a_key_given_twice_is_refused() {
    refused(
        "apiVersion: v1\nkind: Pod\nkind: Service\n",
        "app.yaml:3: key \"kind\" is given twice; the first is on line 2",
    );
}

#[test]
fn names_are_checked_and_namespaces_filled_in() {
    refused(
        &NODE.replace("name: front", "name: Front!"),
        "app.yaml:4: VirtualNode shop/Front!: metadata.name: \"Front!\" is not a name",
    );
    refused(
        "apiVersion: v1\nkind: Namespace\nmetadata: {}\n",
        "app.yaml:3: Namespace : metadata.name: is required",
    );
    let options = Options {
        namespace: "team".to_owned(),
        ..Options::default()
    };
    let text = NODE.replace("  namespace: shop\n", "");
    let mesh = "---\napiVersion: appmesh.k8s.aws/v1beta2\nkind: Mesh\nmetadata: {name: m, namespace: shop}\n";
    let manifests = read(&[Source::new("app.yaml", text + mesh)], &options).expect("readable");
    assert_eq!(manifests.objects[0].object.namespace(), Some("team"));
    assert_eq!(manifests.objects[1].object.namespace(), None);
}

#[test]
fn a_list_holds_documents_with_their_own_lines() {
    refused(
        "apiVersion: v1
kind: List
items:
  - apiVersion: v1
    kind: ConfigMap
    metadata: {name: a}
  - apiVersion: v1
    kind: Service
    metadata:
      name: b
    spec:
      ports:
        - port: 0
",
        "app.yaml:13: Service default/b: spec.ports[0].port: 0 is out of range",
    );
}

#[test]
fn anchors_and_merge_keys_are_expanded() {
    let manifests = read_text(
        "apiVersion: v1
kind: Pod
metadata:
  name: p
  labels: &labels {app: front, tier: web}
  annotations:
    <<: *labels
    tier: own
spec:
  containers:
    - &one {name: a, image: i}
    - <<: *one
      name: b
",
    )
    .expect("readable");
    let Object::Pod(pod) = &manifests.objects[0].object else {
        panic!("a pod")
    };
    let annotations = pod.metadata.annotations.as_ref().expect("annotations");
    assert_eq!(
        (annotations["app"].as_str(), annotations["tier"].as_str()),
        ("front", "own")
    );
    let spec = pod.spec.as_ref().expect("spec");
    assert_eq!(
        (
            spec.containers[1].name.as_str(),
            spec.containers[1].image.as_deref()
        ),
        ("b", Some("i"))
    );
}

#[test]
fn scalars_are_read_as_kubernetes_reads_them() {
    let manifests = read_text(
        "apiVersion: v1
kind: Pod
metadata:
  name: p
  annotations: {quoted: \"0644\", on: 'true', 8080: text}
spec:
  volumes:
    - name: v
      secret: {secretName: s, defaultMode: 0644}
  containers: [{name: a, image: i}]
",
    )
    .expect("readable");
    let Object::Pod(pod) = &manifests.objects[0].object else {
        panic!("a pod")
    };
    let annotations = pod.metadata.annotations.as_ref().expect("annotations");
    assert_eq!(
        (annotations["quoted"].as_str(), annotations["8080"].as_str()),
        ("0644", "text")
    );
    let volumes = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.volumes.as_ref())
        .expect("volumes");
    let mode = volumes[0]
        .secret
        .as_ref()
        .and_then(|secret| secret.default_mode);
    assert_eq!(mode, Some(0o644), "a leading zero makes a number octal");
}

#[test]
fn an_alias_inside_its_own_node_is_refused() {
    refused(
        "a: &a [1, *a]\n",
        "app.yaml:1: this alias stands inside the node that it names",
    );
}

#[test]
fn workloads_that_could_never_run_are_refused() {
    let deployment = "apiVersion: apps/v1
kind: Deployment
metadata: {name: d}
spec:
  selector: {matchLabels: {app: front}}
  template:
    metadata: {labels: {app: back}}
    spec:
      containers:
        - name: a
          image: i
          volumeMounts: [{name: data, mountPath: /data}]
        - name: a
";
    let problems = problems(deployment);
    insta::assert_snapshot!(problems, @r#"
    app.yaml:5: Deployment default/d: spec.selector: does not select template.metadata.labels; make them agree
    app.yaml:12: Deployment default/d: spec.template.spec.containers[0].volumeMounts[0].name: the pod has no volume "data"; add it to volumes
    app.yaml:13: Deployment default/d: spec.template.spec.containers[1].name: "a" is the name of another container of this pod
    app.yaml:13: Deployment default/d: spec.template.spec.containers[1].image: is required
    "#);
    refused(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\n",
        "Deployment default/d: spec: is required",
    );
    refused(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: []}\n",
        "spec.containers: needs at least one container",
    );
    refused(
        "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {type: Balancer, ports: [{port: 1}, {port: 2, name: b}]}\n",
        "spec.ports[0].name: is required when a service has several ports",
    );
}

#[test]
fn kinds_that_are_not_run_are_kept_with_a_warning_and_istio_kinds_without() {
    let manifests = read_text(
        "apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: b}
spec: {anything: goes}
---
apiVersion: networking.istio.io/v1alpha3
kind: Gateway
metadata: {name: g}
spec: {servers: []}
",
    )
    .expect("both are accepted");
    assert_eq!(manifests.warnings.len(), 1);
    assert!(
        matches!(&manifests.objects[0].object, Object::NotRun(object) if object.kind == "PodDisruptionBudget")
    );
    assert!(
        matches!(&manifests.objects[1].object, Object::Istio(object) if object.value["spec"]["servers"].is_array())
    );
}

#[test]
fn kinds_of_others_are_warnings_and_misspelt_ones_of_ours_are_errors() {
    let others = "apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [app.yaml]
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: shop}
---
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: shop}
---
apiVersion: flagger.app/v1beta1
kind: Canary
metadata: {name: shop}
";
    let manifests = read_text(others).expect("they are accepted");
    assert_eq!((manifests.warnings.len(), manifests.objects.len()), (4, 3));
    for warning in &manifests.warnings {
        let told = warning.to_string();
        assert!(
            told.contains("not run here") && !told.contains("warning"),
            "{told}"
        );
    }
    for (version, kind) in [
        ("v1", "Servise"),
        ("apps/v1", "Deploymnt"),
        ("appmesh.k8s.aws/v1beta2", "VirtualNod"),
        ("extensions/v1beta1", "Deployment"),
    ] {
        let text = format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{name: x}}\n");
        let problems = read_text(&text).expect_err("it is misspelt");
        assert!(problems.to_string().contains(kind), "{problems}");
    }
}

#[test]
fn apply_order_puts_what_is_needed_first() {
    let service =
        "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 1}]}\n";
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: a, image: i}]}\n";
    let mesh = "apiVersion: appmesh.k8s.aws/v1beta2\nkind: Mesh\nmetadata: {name: m}\n";
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n";
    let manifests =
        read_text(&[pod, service, NODE, mesh, namespace].join("---\n")).expect("readable");
    let kinds: Vec<String> = manifests
        .into_apply_order()
        .iter()
        .map(|o| o.object.kind().to_owned())
        .collect();
    assert_eq!(
        kinds,
        ["Namespace", "Mesh", "VirtualNode", "Service", "Pod"]
    );
}

/// Every prefix of a manifest, and every manifest with one character replaced, is read or rejected.
#[test]
fn damaged_text_never_panics() {
    let text = format!("{NODE}---\na: &a {{<<: *a, b: [1, \"x\"]}}\nc: *a\n");
    let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    for end in ends {
        let _ = read_text(&text[..end]);
        for damage in [
            "\t",
            ":",
            "-",
            "[",
            "{",
            "*",
            "&",
            "!",
            "|",
            "%",
            "\u{0}",
            "\u{feff}",
            "\u{1F600}",
        ] {
            let _ = read_text(&format!("{}{damage}{}", &text[..end], &text[end + 1..]));
        }
    }
}

#[test]
fn documents_of_other_formats_are_read_with_their_lines() {
    let text = "a: 1\n---\n---\nkind: List\nitems:\n- {b: 2}\n-\n  c: 3\n";
    let source = Source::new("other.yaml", text);
    let read = documents(&source, &Limits::default()).expect("YAML");
    assert_eq!(read.len(), 2, "empty documents are left out");
    assert_eq!((read[0].origin.line(), read[1].origin.line()), (1, 4));
    let items = read[1].items("items");
    let values: Vec<&Value> = items.iter().map(|item| &item.object).collect();
    assert_eq!(
        values,
        [&serde_json::json!({"b": 2}), &serde_json::json!({"c": 3})]
    );
    assert_eq!(items[1].origin.line_of(&"c".into()), 8);
    assert_eq!(items[1].origin.file(), "other.yaml");
    assert!(read[0].items("items").is_empty());
    let small = Limits {
        bytes: 3,
        ..Limits::default()
    };
    let problem = documents(&source, &small).expect_err("too large");
    assert!(
        problem.to_string().starts_with("other.yaml:1: has "),
        "{problem}"
    );
    let problem = documents(&Source::new("x", "a: ["), &Limits::default());
    assert!(problem.expect_err("no YAML").message.contains("not YAML"));
}

#[test]
fn members_that_a_union_does_not_have_are_found_and_null_ones_are_absent() {
    let listener = NODE.replace(
        "        protocol: http\n",
        "        protocol: http\n      connectionPool:\n        tcp: null\n        http: {maxConnections: 1}\n        htpp: {}\n",
    );
    let problems = problems(&listener);
    assert_eq!(
        problems,
        "app.yaml:14: VirtualNode shop/front: spec.listeners[0].connectionPool.htpp: VirtualNode has no such field; \
         check its spelling and its indentation"
    );
    refused(
        &listener.replace("maxConnections: 1", "maxConnections: many"),
        "app.yaml:13: VirtualNode shop/front: spec.listeners[0].connectionPool.http.maxConnections: invalid type",
    );
}

#[test]
fn members_that_only_the_api_has_are_unknown_here() {
    let node = NODE.replace(
        "hostname: front.shop",
        "hostname: front.shop, ipPreference: IPv6_ONLY",
    );
    refused(
        &node,
        "app.yaml:11: VirtualNode shop/front: spec.serviceDiscovery.dns.ipPreference: VirtualNode has no such field",
    );
    refused(
        "apiVersion: appmesh.k8s.aws/v1beta2\nkind: Mesh\nmetadata: {name: m}\nspec:\n  meshServiceDiscovery:\n    \
         ipPreference: IPv6_PREFERRED\n",
        "app.yaml:6: Mesh m: spec.meshServiceDiscovery.ipPreference: must be IPv4_ONLY or IPv6_ONLY",
    );
}
