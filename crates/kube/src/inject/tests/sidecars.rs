//! Where and how the proxy runs: native or not, ours or Envoy, once.

use super::*;

fn init_names(pod: &Pod) -> Vec<&str> {
    let spec = pod.spec.as_ref().expect("a spec");
    let inits = spec.init_containers.iter().flatten();
    inits.map(|container| container.name.as_str()).collect()
}

fn native() -> InjectConfig {
    let mut config = config();
    config.native_sidecars = true;
    config
}

fn with_own_init(annotations: Value) -> Pod {
    testkit::pod(json!({
        "metadata": {"name": "p", "labels": {"app": "front"}, "annotations": annotations},
        "spec": {
            "initContainers": [{"name": "own", "image": "own:1"}],
            "containers": [{"name": "app", "image": "app:1"}],
        },
    }))
}

#[test]
fn a_native_sidecar_starts_before_the_application_and_ends_after_it() {
    let mut config = native();
    config.tracing = Tracing::Xray(XrayDaemon::new("xray:1"));
    let pod = injected(&with_own_init(json!({})), &config);
    assert_eq!(init_names(&pod), ["own", PROXY_INIT, XRAY_DAEMON, SIDECAR]);
    assert_eq!(names(&pod), ["app"]);
    let sidecar = container(&pod, SIDECAR);
    assert_eq!(sidecar.restart_policy.as_deref(), Some("Always"));
    assert_eq!(sidecar.lifecycle, None, "nothing waits when the pod ends");
    let start = sidecar
        .startup_probe
        .as_ref()
        .expect("the start is awaited");
    assert_eq!(start.exec, config.sidecar.probe.exec);
    assert_eq!(
        (start.period_seconds, start.failure_threshold),
        (Some(1), Some(180))
    );
    assert_eq!(start.initial_delay_seconds, None);
    assert_eq!(
        sidecar.readiness_probe.as_ref(),
        Some(&config.sidecar.probe)
    );
}

#[test]
fn a_native_sidecar_comes_first_where_a_network_plugin_redirects() {
    let annotations = json!({"appmesh.k8s.aws/appmeshCNI": "enabled"});
    let mut config = native();
    config.tracing = Tracing::Xray(XrayDaemon::new("xray:1"));
    let pod = injected(&with_own_init(annotations), &config);
    assert_eq!(init_names(&pod), [XRAY_DAEMON, SIDECAR, "own"]);
}

#[test]
fn a_pod_chooses_whether_its_sidecar_is_native() {
    let name = annotation::NATIVE_SIDECAR;
    let pod = injected(&front(json!({ name: "disabled" })), &native());
    assert_eq!(names(&pod), ["app", "envoy"]);
    let pod = injected(&front(json!({ name: "enabled" })), &config());
    assert_eq!(names(&pod), ["app"]);
    let message = denied(&front(json!({ name: "yes" })), &config());
    assert!(
        message.contains("\"yes\" is neither enabled nor disabled"),
        "{message}"
    );
}

#[test]
fn our_own_sidecar_needs_neither_shell_nor_privilege() {
    let mut config = native();
    config.sidecar = Sidecar::tombolo("tombolo:1");
    config.init_args = vec!["init".to_owned()];
    insta::assert_yaml_snapshot!(injected(&front(json!({})), &config));
}

#[test]
fn pods_and_namespaces_choose_their_sidecar() {
    let mut config = config();
    config.other_sidecar = Some(Sidecar::tombolo("tombolo:1"));
    let image = |namespace: Option<&str>, pod: Option<&str>| {
        let mut objects = cluster();
        let mut labels: Labels = [(SWITCH.to_owned(), "enabled".to_owned())].into();
        labels.extend(namespace.map(|kind| (annotation::PROXY_KIND.to_owned(), kind.to_owned())));
        objects.put_namespace("shop", labels);
        let annotations = pod.map(|kind| json!({ annotation::PROXY_KIND: kind }));
        let pod = front(annotations.unwrap_or_default());
        let injection = inject(&pod, "shop", &objects, &config)?;
        let Injection::Injected { pod, .. } = injection else {
            panic!("not injected")
        };
        Ok(container(&pod, SIDECAR).image.clone().expect("an image"))
    };
    let message =
        |kind| image(None, Some(kind)).map_err(|violation: Violation| violation.to_string());
    assert_eq!(image(None, None).as_deref(), Ok("proxy:1"));
    assert_eq!(image(Some("tombolo"), None).as_deref(), Ok("tombolo:1"));
    assert_eq!(
        image(Some("tombolo"), Some("Envoy")).as_deref(),
        Ok("proxy:1")
    );
    assert_eq!(
        message("nginx").expect_err("denied"),
        "metadata.annotations[tombolo.dev/sidecar]: \"nginx\" is no sidecar; write tombolo or envoy"
    );
    config.other_sidecar = None;
    let denial = denied(
        &front(json!({ annotation::PROXY_KIND: "tombolo" })),
        &config,
    );
    assert!(
        denial.contains("the injector has no image for tombolo"),
        "{denial}"
    );
}

#[test]
fn a_pod_in_its_hosts_network_is_denied_unless_it_is_a_gateway() {
    let mut pod = front(json!({}));
    pod.spec.as_mut().expect("a spec").host_network = Some(true);
    let message = denied(&pod, &config());
    assert!(
        message.starts_with("spec.hostNetwork: virtual node shop/front selects the pod"),
        "{message}"
    );

    let own = json!({"name": "envoy", "image": "old:1"});
    pod.metadata.labels = Some([("app".to_owned(), "in".to_owned())].into());
    pod.spec.as_mut().expect("a spec").containers =
        vec![Codec::from_json(&own).expect("container")];
    injected(&pod, &config());
}

#[test]
fn mirror_pods_stay_as_they_are() {
    let pod = front(json!({"kubernetes.io/config.mirror": "x"}));
    let untouched = Injection::Untouched(NotInjected::Mirror);
    assert_eq!(inject(&pod, "shop", &cluster(), &config()), Ok(untouched));
}

#[test]
fn redirection_runs_as_root_where_the_pod_gave_that_up() {
    let mut pod = front(json!({}));
    let context =
        json!({"securityContext": {"runAsUser": 1000, "runAsNonRoot": true}, "containers": []});
    let context = PodSpec::from_json(&context)
        .expect("a spec")
        .security_context;
    pod.spec.as_mut().expect("a spec").security_context = context;
    let pod = injected(&pod, &config());
    let context = container(&pod, PROXY_INIT)
        .security_context
        .as_ref()
        .expect("a context");
    assert_eq!(
        (context.run_as_user, context.run_as_non_root),
        (Some(0), Some(false))
    );
}

#[test]
fn addresses_of_credentials_are_not_redirected() {
    let pod = injected(&front(json!({})), &config());
    assert_eq!(
        env(&pod, PROXY_INIT, "APPMESH_EGRESS_IGNORED_IP"),
        Some("169.254.169.254,fd00:ec2::254,169.254.170.23,fd00:ec2::23,169.254.170.2")
    );
}

#[test]
fn a_gateway_takes_variables_of_its_pod() {
    let mut pod = pod(
        json!({"app": "in"}),
        json!({"appmesh.k8s.aws/sidecarEnv": "A=1, AWS_REGION=forged"}),
    );
    let own = json!({"name": "envoy", "image": "old:1"});
    pod.spec.as_mut().expect("a spec").containers =
        vec![Codec::from_json(&own).expect("container")];
    let pod = injected(&pod, &config());
    assert_eq!(env(&pod, SIDECAR, "A"), Some("1"));
    assert_eq!(env(&pod, SIDECAR, "AWS_REGION"), Some("us-west-2"));
}

/// Every pod under every configuration: what is injected once comes out of a second injection as it is.
#[test]
fn injecting_twice_is_injecting_once() {
    let tracers = [
        Tracing::Off,
        Tracing::Xray(XrayDaemon::new("xray:1")),
        Tracing::Datadog {
            address: "ref:status.hostIP".to_owned(),
            port: 8126,
        },
    ];
    let mut configs = Vec::new();
    for tracing in tracers {
        for bits in 0..16 {
            let mut config = config();
            config.tracing = tracing.clone();
            config.native_sidecars = bits & 1 > 0;
            config.sds_socket = (bits & 2 > 0).then(|| "/run/agent.sock".to_owned());
            config.image_pull_secret = (bits & 4 > 0).then(|| "pull".to_owned());
            if bits & 8 > 0 {
                config.sidecar = Sidecar::tombolo("tombolo:1");
                config.sidecar.post_start = Some(vec!["wait".to_owned()]);
            }
            configs.push(config);
        }
    }
    let annotations = [
        json!({}),
        json!({"appmesh.k8s.aws/appmeshCNI": "enabled", "appmesh.k8s.aws/ports": "1,2"}),
        json!({
            "appmesh.k8s.aws/secretMounts": "tls:/certs", "appmesh.k8s.aws/volumeMounts": "conf:/conf",
            "appmesh.k8s.aws/sidecarEnvJson": "[{\"XRAY_SAMPLING_RATE\": \"0.5\", \"A\": \"1\"}]",
            "appmesh.k8s.aws/cpuLimit": "1", "appmesh.k8s.aws/xrayAgentConfigMount": "conf:/etc",
        }),
    ];
    let gateway = |annotations: &Value| {
        let mut pod = pod(json!({"app": "in"}), annotations.clone());
        let own = json!({"name": "envoy", "image": "old:1"});
        let own = Codec::from_json(&own).expect("container");
        pod.spec.as_mut().expect("a spec").containers.push(own);
        pod
    };
    for config in &configs {
        for annotations in &annotations {
            for pod in [
                front(annotations.clone()),
                with_own_init(annotations.clone()),
                gateway(annotations),
            ] {
                let once = injected(&pod, config);
                assert_ne!(once, pod);
                assert_eq!(injected(&once, config), once, "{annotations} {config:?}");
            }
        }
    }
}
