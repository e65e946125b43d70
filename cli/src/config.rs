//! Defaults a user has set with `minik config set`: one small YAML map, kept in the config folder.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ipnetwork::Ipv4Network;
use minik_driver::{Host as _, RealHost};
use minik_spec::{Cpus, DiskSize, Memory, NetworkWish, ProfileName, SpecError};

use crate::exit::Exit;
use crate::report::Report;
use crate::{advice, drivers};

/// Says what is wrong with a value.
type Check = fn(&str) -> Result<(), Report>;

/// One setting that can be kept.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    check: Check,
    pub(crate) meaning: &'static str,
    /// A change is seen only by machines made after it.
    pub(crate) shapes_machine: bool,
}

const fn key(name: &'static str, check: Check, shapes_machine: bool, meaning: &'static str) -> Key {
    Key { name, check, meaning, shapes_machine }
}

/// Every key, in the order `config view` and `config defaults` show them.
pub(crate) const KEYS: &[Key] = &[
    key("driver", driver, true, "driver of new clusters"),
    key("cpus", setting::<Cpus>, true, "CPUs of a machine, or `max`"),
    key("memory", setting::<Memory>, true, "memory of a machine, as `2g` or `2048mb`"),
    key("disk-size", setting::<DiskSize>, true, "disk of a machine, as `20g`"),
    key("nodes", number, true, "machines of a new cluster"),
    key("host-only-cidr", cidr, true, "host-only network, as `192.168.70.1/24`"),
    key("network", setting::<NetworkWish>, true, "`auto`, `tap` or `user`"),
    key("guest-image-url", text, true, "where the manifest of the guest image is"),
    key("qemu-binary", text, false, "the QEMU program to run"),
    key("kubectl-mirror", text, false, "where `minik kubectl` downloads from"),
    key("profile", setting::<ProfileName>, false, "the current profile"),
    key("offline", flag, false, "never open a connection to the outside"),
];

/// The file and what it says.
#[derive(Debug)]
pub(crate) struct Config {
    path: PathBuf,
    values: BTreeMap<String, String>,
}

impl Config {
    /// Reads the file; an absent one is empty. A file that cannot be read is an error, never lost.
    pub(crate) fn load(folder: &Path) -> Result<Config, Report> {
        let path = folder.join("config.yaml");
        let values = match std::fs::read_to_string(&path) {
            Ok(text) if text.trim().is_empty() => BTreeMap::new(),
            Ok(text) => serde_yaml::from_str(&text).map_err(|err| {
                Report::new(
                    "HOST_CONFIG_LOAD",
                    Exit::CONFIG,
                    format!("{} is not a map of settings: {err}", path.display()),
                )
                .advise("mend the file by hand, or remove it to go back to the defaults")
            })?,
            Err(err) if err.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(err) => return Err(unreadable(&path, &err)),
        };
        Ok(Config { path, values })
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<&'static Key, Report> {
        let key = find(name)?;
        (key.check)(value)?;
        self.values.insert(name.to_owned(), value.to_owned());
        self.save()?;
        Ok(key)
    }

    pub(crate) fn unset(&mut self, name: &str) -> Result<(), Report> {
        find(name)?;
        if self.values.remove(name).is_some() {
            self.save()?;
        }
        Ok(())
    }

    fn save(&self) -> Result<(), Report> {
        let text = serde_yaml::to_string(&self.values)
            .map_err(|err| Report::new("HOST_CONFIG_SAVE", Exit::CONFIG, err.to_string()))?;
        let folder = self.path.parent().unwrap_or(&self.path);
        RealHost
            .make_dir(folder, 0o700)
            .and_then(|()| RealHost.write_atomic(&self.path, text.as_bytes(), 0o600))
            .map_err(|err| advice::driver(&err))
    }
}

fn unreadable(path: &Path, err: &io::Error) -> Report {
    Report::new(
        "HOST_CONFIG_LOAD",
        Exit::CONFIG,
        format!("{} cannot be read: {err}", path.display()),
    )
}

/// The key of that name, or an error that names the nearest one.
pub(crate) fn find(name: &str) -> Result<&'static Key, Report> {
    KEYS.iter().find(|key| key.name == name).ok_or_else(|| {
        let report =
            Report::new("MK_USAGE", Exit::USAGE, format!("there is no setting named `{name}`"));
        match KEYS.iter().find(|key| key.name.contains(name) || name.contains(key.name)) {
            Some(near) => report.advise(format!("did you mean `{}`?", near.name)),
            None => report.advise("`minik config defaults` shows every setting"),
        }
    })
}

fn setting<T: FromStr<Err = SpecError>>(value: &str) -> Result<(), Report> {
    value.parse::<T>().map(|_| ()).map_err(|err| advice::spec(&err))
}

fn driver(value: &str) -> Result<(), Report> {
    drivers::canonical(value).map(|_| ())
}

fn text(value: &str) -> Result<(), Report> {
    wanted("some text", value, !value.trim().is_empty())
}

fn number(value: &str) -> Result<(), Report> {
    wanted("a whole number from 1", value, value.parse::<u32>().is_ok_and(|n| n > 0))
}

fn flag(value: &str) -> Result<(), Report> {
    wanted("`true` or `false`", value, matches!(value, "true" | "false"))
}

/// Whether it fits this host's other networks is for `start` to see.
fn cidr(value: &str) -> Result<(), Report> {
    let fits = value.parse::<Ipv4Network>().is_ok() && value.contains('/');
    wanted("an IPv4 network as `192.168.70.1/24`", value, fits)
}

fn wanted(what: &str, value: &str, fits: bool) -> Result<(), Report> {
    if fits { Ok(()) } else { Err(Report::usage(format!("{what} is wanted, not `{value}`"))) }
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    #[test]
    fn a_value_is_kept_and_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::load(folder.path()).unwrap();
        config.set("cpus", "4").unwrap();
        assert_eq!(Config::load(folder.path()).unwrap().get("cpus"), Some("4"));
        config.unset("cpus").unwrap();
        assert_eq!(Config::load(folder.path()).unwrap().get("cpus"), None);
    }

    #[test_case("cpu", "4"; "no such setting")]
    #[test_case("driver", "xen"; "no such driver")]
    #[test_case("cpus", "abc")]
    #[test_case("memory", "much")]
    #[test_case("disk-size", "-1")]
    #[test_case("nodes", "many")]
    #[test_case("host-only-cidr", "192.168.70.1")]
    #[test_case("network", "wifi")]
    #[test_case("guest-image-url", " ")]
    #[test_case("profile", "no/name")]
    #[test_case("offline", "maybe")]
    fn wrong_names_and_values_change_nothing(name: &str, value: &str) {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::load(folder.path()).unwrap();
        config.set(name, value).unwrap_err();
        assert!(!folder.path().join("config.yaml").exists());
    }

    #[test_case("driver", "kvm2"; "by minikube's name")]
    #[test_case("cpus", "max")]
    #[test_case("memory", "2g")]
    #[test_case("disk-size", "20000mb")]
    #[test_case("host-only-cidr", "192.168.70.1/24")]
    #[test_case("network", "user")]
    fn what_start_takes_can_be_kept(name: &str, value: &str) {
        let folder = tempfile::tempdir().unwrap();
        Config::load(folder.path()).unwrap().set(name, value).unwrap();
        assert_eq!(Config::load(folder.path()).unwrap().get(name), Some(value));
    }

    #[test]
    fn a_broken_file_is_named_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.yaml"), "- a\n- b\n").unwrap();
        let report = Config::load(folder.path()).unwrap_err();
        assert_eq!(report.exit, Exit::CONFIG);
        assert!(report.message.contains("config.yaml"));
    }
}
