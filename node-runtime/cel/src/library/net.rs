//! `ip()` and `cidr()`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Args, Handler};
use crate::error::EvalError;
use crate::eval::Evaluated;
use crate::value::{Library, Value};

/// An address and how many of its first bits name the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    address: IpAddr,
    bits: u8,
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl Cidr {
    fn parse(text: &str) -> Result<Cidr, String> {
        let wrong = |why: &str| {
            let shown: String = text.chars().take(100).collect();
            Err(format!(
                "network address parse error during conversion from string: \
                 netip.ParsePrefix({shown:?}): {why}"
            ))
        };
        let Some((address, bits)) = text.rsplit_once('/') else { return wrong("no '/'") };
        let Ok(address) = address.parse::<IpAddr>() else {
            return wrong("unable to parse IP");
        };
        let most = if address.is_ipv4() { 32 } else { 128 };
        let plain =
            bits == "0" || (!bits.starts_with('0') && bits.bytes().all(|b| b.is_ascii_digit()));
        let parsed = bits.parse::<u8>().ok().filter(|bits| plain && *bits <= most);
        let Some(bits) = parsed else { return wrong("prefix length out of range") };
        if is_mapped(&address) {
            return Err(format!("IPv4-mapped IPv6 address {text:?} is not allowed"));
        }
        Ok(Cidr { address, bits })
    }

    fn masked(self) -> Cidr {
        let address = match self.address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from(u32::from(address) & mask))
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from(u128::from(address) & mask))
            }
        };
        Cidr { address, bits: self.bits }
    }

    fn contains(self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4()
            && Cidr { address, bits: self.bits }.masked().address == self.masked().address
    }
}

fn is_mapped(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.to_ipv4_mapped().is_some())
}

fn parse_ip(text: &str) -> Result<IpAddr, String> {
    let shown = || text.chars().take(100).collect::<String>();
    if let Some((address, _)) = text.split_once('%')
        && address.parse::<Ipv6Addr>().is_ok()
    {
        return Err(format!("IP address {:?} with zone value is not allowed", shown()));
    }
    let Ok(address) = text.parse::<IpAddr>() else {
        let shown = shown();
        return Err(format!(
            "IP Address {shown:?} parse error during conversion from string: \
             ParseAddr({shown:?}): unable to parse IP"
        ));
    };
    match is_mapped(&address) {
        true => Err(format!("IPv4-mapped IPv6 address {text:?} is not allowed")),
        false => Ok(address),
    }
}

/// The one canonical form.
pub(super) fn show_ip(address: IpAddr) -> String {
    address.to_string()
}

pub(super) fn functions(name: &str) -> Option<Handler> {
    Some(match name {
        "ip" => |args| {
            let address = parse_ip(text(args)?).map_err(EvalError::failed)?;
            Ok(Value::Library(Library::Ip(address)))
        },
        "isIP" => |args| Ok(Value::Bool(parse_ip(text(args)?).is_ok())),
        "ip.isCanonical" => |args| {
            let text = text(args)?;
            let address = parse_ip(text).map_err(EvalError::failed)?;
            Ok(Value::Bool(show_ip(address) == text))
        },
        "cidr" => |args| {
            let cidr = Cidr::parse(text(args)?).map_err(EvalError::failed)?;
            Ok(Value::Library(Library::Cidr(cidr)))
        },
        "isCIDR" => |args| Ok(Value::Bool(Cidr::parse(text(args)?).is_ok())),
        _ => return None,
    })
}

pub(super) fn methods(name: &str) -> Option<Handler> {
    Some(match name {
        "family" => |args| Ok(Value::Int(if ip(args)?.is_ipv4() { 4 } else { 6 })),
        "isUnspecified" => |args| ip(args).map(|ip| Value::Bool(ip.is_unspecified())),
        "isLoopback" => |args| ip(args).map(|ip| Value::Bool(ip.is_loopback())),
        "isLinkLocalMulticast" => |args| ip(args).map(|ip| Value::Bool(link_local_multicast(ip))),
        "isLinkLocalUnicast" => |args| ip(args).map(|ip| Value::Bool(link_local_unicast(ip))),
        "isGlobalUnicast" => |args| ip(args).map(|ip| Value::Bool(global_unicast(ip))),
        "ip" => |args| cidr(args).map(|cidr| Value::Library(Library::Ip(cidr.address))),
        "masked" => |args| cidr(args).map(|cidr| Value::Library(Library::Cidr(cidr.masked()))),
        "prefixLength" => |args| cidr(args).map(|cidr| Value::Int(cidr.bits.into())),
        "containsIP" => contains_ip,
        "containsCIDR" => contains_cidr,
        _ => return None,
    })
}

fn text<'v>(args: &'v Args<'_, '_>) -> Result<&'v str, EvalError> {
    match args.values.as_slice() {
        [Value::String(text)] => Ok(text.as_str()),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn ip(args: &Args<'_, '_>) -> Result<IpAddr, EvalError> {
    match args.values.first() {
        Some(Value::Library(Library::Ip(address))) => Ok(*address),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn cidr(args: &Args<'_, '_>) -> Result<Cidr, EvalError> {
    match args.values.first() {
        Some(Value::Library(Library::Cidr(cidr))) => Ok(*cidr),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn link_local_multicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.octets()[..3] == [224, 0, 0],
        IpAddr::V6(address) => address.segments()[0] & 0xff0f == 0xff02,
    }
}

fn link_local_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.segments()[0] & 0xffc0 == 0xfe80,
    }
}

fn global_unicast(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    !broadcast
        && !address.is_unspecified()
        && !address.is_loopback()
        && !address.is_multicast()
        && !link_local_unicast(address)
}

fn contains_ip<'a>(args: &mut Args<'_, 'a>) -> Evaluated<'a> {
    let cidr = cidr(args)?;
    let address = match args.values.get(1) {
        Some(Value::Library(Library::Ip(address))) => *address,
        Some(Value::String(text)) => parse_ip(text.as_str()).map_err(EvalError::failed)?,
        _ => return Err(EvalError::no_such_overload()),
    };
    Ok(Value::Bool(cidr.contains(address)))
}

fn contains_cidr<'a>(args: &mut Args<'_, 'a>) -> Evaluated<'a> {
    let cidr = cidr(args)?;
    let other = match args.values.get(1) {
        Some(Value::Library(Library::Cidr(other))) => *other,
        Some(Value::String(text)) => Cidr::parse(text.as_str()).map_err(EvalError::failed)?,
        _ => return Err(EvalError::no_such_overload()),
    };
    Ok(Value::Bool(cidr.contains(other.address) && cidr.bits <= other.bits))
}
