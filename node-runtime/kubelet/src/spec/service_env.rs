//! The variables that tell a container where the services of its namespace are.

use k8s_openapi::api::core::v1::{Pod, Service};

use crate::object;

/// Name and value of each variable, for the services the pod sees.
pub(crate) fn variables<'a>(
    pod: &Pod,
    services: impl Iterator<Item = &'a Service>,
) -> Vec<(String, String)> {
    let links = object::spec(pod).enable_service_links.unwrap_or(true);
    let mut seen: Vec<&Service> = services
        .filter(|service| {
            let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
            let name = service.metadata.name.as_deref().unwrap_or_default();
            let is_api = namespace == "default" && name == "kubernetes";
            is_api || (links && namespace == object::namespace(pod))
        })
        .collect();
    // A service of the pod's own namespace hides one of the same name in `default`.
    seen.sort_by_key(|service| {
        let is_own = service.metadata.namespace.as_deref() == Some(object::namespace(pod));
        (service.metadata.name.clone(), !is_own)
    });
    seen.dedup_by_key(|service| service.metadata.name.clone());
    seen.into_iter().flat_map(of_service).collect()
}

fn of_service(service: &Service) -> Vec<(String, String)> {
    let spec = service.spec.clone().unwrap_or_default();
    let ip = spec.cluster_ip.unwrap_or_default();
    let ports = spec.ports.unwrap_or_default();
    let is_external = spec.type_.as_deref() == Some("ExternalName");
    if ip.is_empty() || ip == "None" || is_external || ports.is_empty() {
        return Vec::new();
    }
    let name = upper(service.metadata.name.as_deref().unwrap_or_default());
    // An IPv6 address needs brackets before a port.
    let host = if ip.contains(':') { format!("[{ip}]") } else { ip.clone() };
    let mut variables = vec![
        (format!("{name}_SERVICE_HOST"), ip.clone()),
        (format!("{name}_SERVICE_PORT"), ports[0].port.to_string()),
    ];
    for port in &ports {
        if let Some(port_name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            let key = format!("{name}_SERVICE_PORT_{}", upper(port_name));
            variables.push((key, port.port.to_string()));
        }
    }
    for (index, port) in ports.iter().enumerate() {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let url = format!("{}://{host}:{}", protocol.to_lowercase(), port.port);
        if index == 0 {
            variables.push((format!("{name}_PORT"), url.clone()));
        }
        let prefix = format!("{name}_PORT_{}_{}", port.port, protocol.to_uppercase());
        variables.push((prefix.clone(), url));
        variables.push((format!("{prefix}_PROTO"), protocol.to_lowercase()));
        variables.push((format!("{prefix}_PORT"), port.port.to_string()));
        variables.push((format!("{prefix}_ADDR"), ip.clone()));
    }
    variables
}

fn upper(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use k8s_openapi::serde_json::{Value, from_value, json};

    use super::*;

    fn service(namespace: &str, name: &str, ip: &str, ports: &Value) -> Service {
        from_value(json!({
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"clusterIP": ip, "ports": ports}
        }))
        .expect("a service")
    }

    fn pod(links: bool) -> Pod {
        from_value(json!({
            "metadata": {"name": "p", "namespace": "shop"},
            "spec": {"containers": [], "enableServiceLinks": links}
        }))
        .expect("a pod")
    }

    #[test]
    fn own_namespace_and_the_api() {
        let services = [
            service("default", "kubernetes", "10.96.0.1", &json!([{"name": "https", "port": 443}])),
            service("shop", "web-ui", "10.96.0.7", &json!([{"port": 80, "protocol": "TCP"}])),
            service("shop", "headless", "None", &json!([{"port": 80}])),
            service("other", "hidden", "10.96.0.8", &json!([{"port": 80}])),
        ];
        let names = |links| {
            let all = variables(&pod(links), services.iter());
            all.into_iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>()
        };
        expect![[r#"
            [
                "KUBERNETES_SERVICE_HOST=10.96.0.1",
                "KUBERNETES_SERVICE_PORT=443",
                "KUBERNETES_SERVICE_PORT_HTTPS=443",
                "KUBERNETES_PORT=tcp://10.96.0.1:443",
                "KUBERNETES_PORT_443_TCP=tcp://10.96.0.1:443",
                "KUBERNETES_PORT_443_TCP_PROTO=tcp",
                "KUBERNETES_PORT_443_TCP_PORT=443",
                "KUBERNETES_PORT_443_TCP_ADDR=10.96.0.1",
                "WEB_UI_SERVICE_HOST=10.96.0.7",
                "WEB_UI_SERVICE_PORT=80",
                "WEB_UI_PORT=tcp://10.96.0.7:80",
                "WEB_UI_PORT_80_TCP=tcp://10.96.0.7:80",
                "WEB_UI_PORT_80_TCP_PROTO=tcp",
                "WEB_UI_PORT_80_TCP_PORT=80",
                "WEB_UI_PORT_80_TCP_ADDR=10.96.0.7",
            ]
        "#]]
        .assert_debug_eq(&names(true));
        assert!(names(false).iter().all(|line| line.starts_with("KUBERNETES_")));
    }
}
