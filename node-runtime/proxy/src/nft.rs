//! The table as text for `nft -f -`: its fixed part, the steps of a change, and running nft.

use std::fmt::Write as _;
use std::io;
use std::process::Stdio;
use std::time::Duration;

use ipnetwork::Ipv4Network;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::diff::Step;
use crate::rules::{Chain, Key, Target};

/// How long nft may take for one transaction.
const NFT_DEADLINE: Duration = Duration::from_secs(30);

/// Clients that one endpoint's affinity set can remember.
const REMEMBERED_MAX: u32 = 65_535;

/// What the fixed part of the table needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    /// Range of all pods.
    pub(crate) pods: Ipv4Network,
    /// Range of ClusterIPs.
    pub(crate) services: Ipv4Network,
    /// Whether packets between ports of a bridge pass through this table, so that answers of a
    /// pod to a neighbour find their way back through the translation.
    pub(crate) bridge_filtered: bool,
}

/// Why nft did not do what it was told; the table is as it was before.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NftError {
    /// nft could not be run.
    #[error("could not run nft")]
    Run(#[source] io::Error),
    /// nft took too long and was killed.
    #[error("nft did not finish within {0:?}")]
    Deadline(Duration),
    /// nft or the kernel refused the transaction.
    #[error("nft refused a transaction of {lines} lines: {said}")]
    Refused {
        /// Length of the transaction.
        lines: usize,
        /// The beginning of what nft printed.
        said: String,
    },
}

/// Makes the table anew, without services.
pub(crate) fn base(network: &Network) -> String {
    let Network { pods, services, bridge_filtered } = network;
    // Without the bridge filter a neighbour's answer would come back untranslated: let it go to
    // the node, which then hides the client's address.
    let neighbours = if *bridge_filtered {
        ""
    } else {
        "    ct status dnat ip saddr @local_pods ip daddr @local_pods masquerade fully-random\n"
    };
    format!(
        r#"table ip minik
delete table ip minik
table ip minik {{
  comment "services of minik: written by minik-node, changes are lost"
  map addresses {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
  map node_ports {{ type inet_proto . inet_service : verdict; }}
  map closed_addresses {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
  map closed_node_ports {{ type inet_proto . inet_service : verdict; }}
  set hairpins {{ type ipv4_addr . ipv4_addr; }}
  set local_pods {{ type ipv4_addr; flags interval; }}
  set pods {{ type ipv4_addr; flags interval; elements = {{ {pods} }}; }}
  chain refuse {{
    reject
  }}
  chain services {{
    ip daddr . meta l4proto . th dport vmap @addresses
    fib daddr type local meta l4proto . th dport vmap @node_ports
  }}
  chain closed {{
    ip daddr . meta l4proto . th dport vmap @closed_addresses
    fib daddr type local meta l4proto . th dport vmap @closed_node_ports
    ip daddr {services} fib daddr type != local goto refuse
  }}
  chain guard {{
    type filter hook prerouting priority raw; policy accept;
    iifname != "lo" ip daddr 127.0.0.0/8 drop
  }}
  chain nat-prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    jump services
  }}
  chain nat-output {{
    type nat hook output priority -100; policy accept;
    jump services
  }}
  chain filter-input {{
    type filter hook input priority filter; policy accept;
    ct state new jump closed
  }}
  chain filter-forward {{
    type filter hook forward priority filter; policy accept;
    ct state new jump closed
  }}
  chain filter-output {{
    type filter hook output priority filter; policy accept;
    ct state new jump closed
  }}
  chain nat-postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    oifname "lo" return
    ct status dnat ip saddr . ip daddr @hairpins masquerade fully-random
    ct status dnat ip saddr 127.0.0.0/8 masquerade fully-random
    ct status dnat ip saddr != @pods ip daddr != @local_pods masquerade fully-random
{neighbours}    ip saddr @local_pods ip daddr != @pods ip daddr != 224.0.0.0/4 masquerade fully-random
  }}
}}
"#
    )
}

/// The steps as one transaction.
pub(crate) fn render(steps: &[Step<'_>]) -> String {
    let mut text = String::new();
    for step in steps {
        render_step(&mut text, step);
    }
    text
}

fn render_step(text: &mut String, step: &Step<'_>) {
    let mut line = |line: std::fmt::Arguments<'_>| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{line}");
    };
    match step {
        Step::AddSet { name, seconds } => line(format_args!(
            "add set ip minik {name} {{ type ipv4_addr; flags dynamic,timeout; \
             timeout {seconds}s; size {REMEMBERED_MAX}; }}"
        )),
        Step::AddChain { name } => line(format_args!("add chain ip minik {name}")),
        Step::FlushChain { name } => line(format_args!("flush chain ip minik {name}")),
        Step::DeleteChain { name } => line(format_args!("delete chain ip minik {name}")),
        Step::DeleteSet { name } => line(format_args!("delete set ip minik {name}")),
        Step::FillChain { name, chain } => {
            for rule in rules(name, chain) {
                line(format_args!("add rule ip minik {name} {rule}"));
            }
        }
        Step::DeleteElement { key } => {
            let (container, key) = element(key);
            line(format_args!("delete element ip minik {container} {{ {key} }}"));
        }
        Step::AddElement { key, target } => {
            let (container, key) = element(key);
            let verdict = verdict(target);
            line(format_args!("add element ip minik {container} {{ {key}{verdict} }}"));
        }
    }
}

/// The map or set of a key, and how the key is written.
fn element(key: &Key) -> (&'static str, String) {
    match key {
        Key::Address(ip, protocol, port) => ("addresses", format!("{ip} . {protocol} . {port}")),
        Key::NodePort(protocol, port) => ("node_ports", format!("{protocol} . {port}")),
        Key::ClosedAddress(ip, protocol, port) => {
            ("closed_addresses", format!("{ip} . {protocol} . {port}"))
        }
        Key::ClosedNodePort(protocol, port) => {
            ("closed_node_ports", format!("{protocol} . {port}"))
        }
        Key::Hairpin(ip) => ("hairpins", format!("{ip} . {ip}")),
        Key::LocalPods(range) => ("local_pods", range.to_string()),
    }
}

fn verdict(target: &Target) -> String {
    match target {
        Target::Chain(name) => format!(" : goto {name}"),
        Target::Refuse => " : goto refuse".to_owned(),
        Target::Drop => " : drop".to_owned(),
        Target::Member => String::new(),
    }
}

fn rules(name: &str, chain: &Chain) -> Vec<String> {
    match chain {
        Chain::Balance { protocol, endpoints } => {
            let one = |(n, address): (usize, &std::net::SocketAddrV4)| {
                format!("{n} : {} . {}", address.ip(), address.port())
            };
            match &endpoints[..] {
                [only] => vec![format!("meta l4proto {protocol} dnat to {only}")],
                several => vec![format!(
                    "meta l4proto {protocol} dnat ip to numgen random mod {} map {{ {} }}",
                    several.len(),
                    several.iter().enumerate().map(one).collect::<Vec<_>>().join(", ")
                )],
            }
        }
        Chain::Sticky { endpoints } => {
            let known = endpoints.iter().map(|name| format!("ip saddr @{name} goto {name}"));
            let pairs: Vec<_> = endpoints
                .iter()
                .enumerate()
                .map(|(n, name)| format!("{n} : goto {name}"))
                .collect();
            let choose =
                format!("numgen random mod {} vmap {{ {} }}", endpoints.len(), pairs.join(", "));
            known.chain([choose]).collect()
        }
        Chain::Endpoint { protocol, address, remember_seconds } => vec![
            format!("update @{name} {{ ip saddr timeout {remember_seconds}s }}"),
            format!("meta l4proto {protocol} dnat to {address}"),
        ],
        Chain::Outside { ranges, inside, outside } => {
            let ranges: Vec<_> = ranges.iter().map(ToString::to_string).collect();
            let mut rules = Vec::new();
            if !ranges.is_empty() {
                rules.push(format!("ip saddr != {{ {} }} drop", ranges.join(", ")));
            }
            if let Some(inside) = inside.as_ref().filter(|inside| Some(*inside) != outside.as_ref())
            {
                rules.push(format!("ip saddr @pods goto {inside}"));
                rules.push(format!("fib saddr type local goto {inside}"));
            }
            rules.extend(outside.iter().map(|outside| format!("goto {outside}")));
            rules
        }
    }
}

/// Runs one transaction.
pub(crate) async fn apply(text: &str) -> Result<(), NftError> {
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(NftError::Run)?;
    let mut input = child.stdin.take().expect("stdin was asked for");
    let feed = async {
        // nft says on stderr why it stopped reading.
        let _ = input.write_all(text.as_bytes()).await;
        drop(input);
    };
    let work = async { tokio::join!(feed, child.wait_with_output()).1 };
    let output = tokio::time::timeout(NFT_DEADLINE, work)
        .await
        .map_err(|_| NftError::Deadline(NFT_DEADLINE))?
        .map_err(NftError::Run)?;
    if output.status.success() {
        return Ok(());
    }
    let said: String = String::from_utf8_lossy(&output.stderr).chars().take(500).collect();
    Err(NftError::Refused { lines: text.lines().count(), said: said.trim().to_owned() })
}
