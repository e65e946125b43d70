//! Where a webhook is: the `url` or `service` of its client configuration.

use std::net::{IpAddr, SocketAddr};

use minik_meta::object;
use serde_json::Value;

use super::WebhookError;
use crate::core::Core;

/// A server to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The name its certificate must have, and that it is asked under.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// With a leading slash, and the query if there is one.
    pub(crate) path: String,
    pub(crate) dial: Dial,
    /// Whether the port is said where it is the usual one.
    pub(crate) has_port: bool,
}

/// Where to connect.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Dial {
    Address(SocketAddr),
    Name(String, u16),
}

impl Place {
    /// The place of a client configuration.
    pub(crate) fn of(core: &Core, client: &Value) -> Result<Place, WebhookError> {
        match object::at(client, &["service"]) {
            None => Place::of_url(object::text(client, &["url"])),
            Some(service) => {
                let text = |key: &str| object::text(service, &[key]);
                let port = object::integer(service, &["port"]).unwrap_or(443);
                let port = u16::try_from(port).unwrap_or(443);
                let mut place = Place::of_service(core, text("namespace"), text("name"), port)?;
                if !text("path").is_empty() {
                    place.path = text("path").to_owned();
                }
                Ok(place)
            }
        }
    }

    pub(crate) fn of_url(url: &str) -> Result<Place, WebhookError> {
        let wrong = || WebhookError::Url(url.to_owned());
        let rest = url.strip_prefix("https://").ok_or_else(wrong)?;
        let (authority, path) = match rest.find('/') {
            Some(at) => (&rest[..at], &rest[at..]),
            None => (rest, "/"),
        };
        // The colons of an IPv6 address are inside brackets.
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                (host, Some(port.parse().map_err(|_| wrong())?))
            }
            _ => (authority, None),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(wrong());
        }
        let (has_port, port) = (port.is_some(), port.unwrap_or(443));
        let dial = match host.parse::<IpAddr>() {
            Ok(ip) => Dial::Address(SocketAddr::new(ip, port)),
            Err(_) => Dial::Name(host.clone(), port),
        };
        Ok(Place { host, port, path: path.to_owned(), dial, has_port })
    }

    /// A service of the cluster, under the name it has there.
    pub(crate) fn of_service(
        core: &Core,
        namespace: &str,
        name: &str,
        port: u16,
    ) -> Result<Place, WebhookError> {
        let dial = service_address(core, namespace, name, port)?;
        let host = format!("{name}.{namespace}.svc");
        Ok(Place { host, port, path: "/".to_owned(), dial, has_port: true })
    }

    /// As it is asked, and named in failures.
    pub(crate) fn url(&self) -> String {
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        match self.has_port {
            true => format!("https://{host}:{}{}", self.port, self.path),
            false => format!("https://{host}{}", self.path),
        }
    }
}

/// The cluster address of a service, or the name it stands for; pods behind it are found by the
/// proxy.
pub(crate) fn service_address(
    core: &Core,
    namespace: &str,
    name: &str,
    port: u16,
) -> Result<Dial, WebhookError> {
    let missing = || WebhookError::NoService { service: name.to_owned() };
    let found = core.read_core_object("services", namespace, name).ok_or_else(missing)?;
    let external = object::text(&found, &["spec", "externalName"]);
    if object::text(&found, &["spec", "type"]) == "ExternalName" && !external.is_empty() {
        return Ok(Dial::Name(external.to_owned(), port));
    }
    let ip = object::text(&found, &["spec", "clusterIP"]);
    let address: IpAddr = ip.parse().map_err(|_| WebhookError::NoAddress { ip: ip.to_owned() })?;
    Ok(Dial::Address(SocketAddr::new(address, port)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test_case("https://a.example.com", Some(("a.example.com", 443, "/")))]
    #[test_case("https://a:8443/convert/x", Some(("a", 8443, "/convert/x")))]
    #[test_case("https://[::1]:9443/", Some(("::1", 9443, "/")))]
    #[test_case("https://[::1]/", Some(("::1", 443, "/")))]
    #[test_case("http://a", None)]
    #[test_case("https://a:x", None)]
    #[test_case("https:///x", None)]
    fn urls(url: &str, expected: Option<(&str, u16, &str)>) {
        let place = Place::of_url(url).ok();
        let found = place.as_ref().map(|one| (one.host.as_str(), one.port, one.path.as_str()));
        assert_eq!(found, expected);
        if let Some(place) = place {
            assert_eq!(place.url().trim_end_matches('/'), url.trim_end_matches('/'));
        }
    }
}
