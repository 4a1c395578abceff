use super::*;

/// Reads the environment that the injector gives to the init container (facts/controller.md §5), with changes.
fn read(changes: &[(&str, Option<&str>)]) -> Result<Option<InterceptConfig>, ConfigError> {
    let injected = [
        ("APPMESH_START_ENABLED", "1"),
        ("APPMESH_IGNORE_UID", "1337"),
        ("APPMESH_ENVOY_INGRESS_PORT", "15000"),
        ("APPMESH_ENVOY_EGRESS_PORT", "15001"),
        ("APPMESH_APP_PORTS", "8080,9090"),
        (
            "APPMESH_EGRESS_IGNORED_IP",
            "169.254.169.254, 10.0.0.0/8,fd00:ec2::254",
        ),
        ("APPMESH_EGRESS_IGNORED_PORTS", "22"),
        ("APPMESH_ENABLE_IPV6", "1"),
    ];
    let get = |name: &str| match changes.iter().find(|(changed, _)| *changed == name) {
        Some((_, value)) => value.map(str::to_owned),
        None => injected
            .iter()
            .find(|(injected, _)| *injected == name)
            .map(|(_, value)| (*value).to_owned()),
    };
    InterceptConfig::from_env(&get)
}

#[test]
fn the_injected_environment_is_understood() {
    let range = |text: &str| text.parse::<AddressRange>().expect("a range");
    let expected = InterceptConfig {
        ingress_port: 15000,
        egress_port: 15001,
        app_ports: vec![8080, 9090],
        ignored_uid: Some(1337),
        ignored_gid: None,
        socket_mark: None,
        ignored_ports: vec![22],
        ignored_addresses: vec![
            range("169.254.169.254"),
            range("10.0.0.0/8"),
            range("fd00:ec2::254/128"),
        ],
        ipv6: true,
    };
    assert_eq!(read(&[]), Ok(Some(expected)));
}

#[test]
fn nothing_is_redirected_unless_enabled() {
    for value in [None, Some("0"), Some("")] {
        assert_eq!(read(&[("APPMESH_START_ENABLED", value)]), Ok(None));
    }
}

#[test]
fn a_mark_may_be_hexadecimal() {
    let config = read(&[
        ("TOMBOLO_SOCKET_MARK", Some("0x7b")),
        ("APPMESH_IGNORE_UID", None),
    ]);
    assert_eq!(
        config.map(|config| config.and_then(|config| config.socket_mark)),
        Ok(Some(0x7b))
    );
}

#[test]
fn every_wrong_variable_is_named() {
    for (variable, value) in [
        ("APPMESH_START_ENABLED", "yes"),
        ("APPMESH_IGNORE_UID", "-1"),
        ("APPMESH_IGNORE_GID", "staff"),
        ("APPMESH_ENVOY_INGRESS_PORT", "0"),
        ("APPMESH_ENVOY_EGRESS_PORT", "65536"),
        ("APPMESH_APP_PORTS", "8080,http"),
        ("APPMESH_EGRESS_IGNORED_IP", "10.0.0.0/33"),
        ("APPMESH_EGRESS_IGNORED_PORTS", "22;23"),
        ("APPMESH_ENABLE_IPV6", "2"),
        ("TOMBOLO_SOCKET_MARK", "0xfffffffff"),
    ] {
        let error = read(&[(variable, Some(value))])
            .expect_err(variable)
            .to_string();
        assert!(error.contains(variable), "{error}");
    }
}

#[test]
fn a_missing_port_and_a_sidecar_without_mark_are_refused() {
    let error = read(&[("APPMESH_ENVOY_EGRESS_PORT", None)])
        .expect_err("no port")
        .to_string();
    assert!(error.contains("APPMESH_ENVOY_EGRESS_PORT"), "{error}");
    assert_eq!(
        read(&[("APPMESH_IGNORE_UID", None)]),
        Err(ConfigError::NothingIgnored)
    );
}
