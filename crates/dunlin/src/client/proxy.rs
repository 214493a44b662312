//! Which proxy to go through: that of a flag, or of the environment.

use std::net::IpAddr;

/// The proxy for this host. A flag wins; the environment's are for others than this machine and those
/// of `NO_PROXY`.
pub(super) fn choose(
    flag: Option<&str>,
    host: &str,
    is_secure: bool,
    variable: impl Fn(&str) -> Option<String>,
) -> Option<String> {
    if let Some(proxy) = flag {
        return Some(proxy.to_owned());
    }
    // Both ways of writing them are common.
    let read = |name: &str| {
        let value = variable(name).or_else(|| variable(&name.to_ascii_lowercase()));
        value.filter(|value| !value.is_empty())
    };
    let is_exempt = is_local(host) || read("NO_PROXY").is_some_and(|list| is_listed(host, &list));
    let of_tls = || is_secure.then(|| read("HTTPS_PROXY")).flatten();
    if is_exempt { None } else { of_tls().or_else(|| read("ALL_PROXY")) }
}

fn is_local(host: &str) -> bool {
    let is_loopback = host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    is_loopback || host.eq_ignore_ascii_case("localhost")
}

/// Whether a list like `example.org,.test,10.0.0.1` has a host, or a domain that it is in.
fn is_listed(host: &str, list: &str) -> bool {
    let host = host.to_ascii_lowercase();
    list.split(',').map(str::trim).any(|entry| {
        let entry = entry.trim_start_matches('.').to_ascii_lowercase();
        let is_within = || host.strip_suffix(&entry).is_some_and(|front| front.ends_with('.'));
        entry == "*" || (!entry.is_empty() && (host == entry || is_within()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_names_a_proxy_for_others_than_this_machine() {
        let variable = |name: &str| match name {
            "HTTPS_PROXY" => Some("http://secure".to_owned()),
            "all_proxy" => Some("socks5://all".to_owned()),
            "NO_PROXY" => Some("example.org, .test,10.0.0.1".to_owned()),
            _ => None,
        };
        for (host, is_secure, expected) in [
            ("broker.example", true, Some("http://secure")),
            ("broker.example", false, Some("socks5://all")),
            ("localhost", true, None),
            ("127.8.0.1", false, None),
            ("::1", false, None),
            ("example.org", true, None),
            ("mqtt.Example.ORG", true, None),
            ("notexample.org", true, Some("http://secure")),
            ("a.test", false, None),
            ("10.0.0.1", false, None),
        ] {
            let chosen = choose(None, host, is_secure, variable);
            assert_eq!(chosen.as_deref(), expected, "{host}");
        }
        let flag = choose(Some("http://flag"), "localhost", false, variable);
        assert_eq!(flag.as_deref(), Some("http://flag"));
        assert_eq!(choose(None, "h", true, |_| Some(String::new())), None);
    }
}
