//! The command line of the system's `ssh`, for `minik ssh`: our key, our host key, nothing of the user's.

use super::{Target, keys};

/// Arguments for `ssh`: interactive without `command`, else that command.
///
/// The guest is known by the machine's name whatever its address is, so a forwarded port on loopback
/// is checked like an address of its own.
pub fn ssh_arguments(
    target: &Target,
    known_hosts: &std::path::Path,
    command: &[String],
) -> Vec<String> {
    let mut arguments: Vec<String> = ["-F", "none"].map(str::to_owned).to_vec();
    let options = [
        format!("HostKeyAlias={}", target.machine),
        format!("UserKnownHostsFile={}", option_path(known_hosts)),
        "GlobalKnownHostsFile=none".to_owned(),
        "StrictHostKeyChecking=yes".to_owned(),
        "HostKeyAlgorithms=ssh-ed25519".to_owned(),
        format!("IdentityFile={}", option_path(&target.key)),
        "IdentitiesOnly=yes".to_owned(),
        "IdentityAgent=none".to_owned(),
        "PasswordAuthentication=no".to_owned(),
        "UpdateHostKeys=no".to_owned(),
        "ConnectTimeout=10".to_owned(),
        "ServerAliveInterval=15".to_owned(),
        "LogLevel=ERROR".to_owned(),
    ];
    for option in options {
        arguments.extend(["-o".to_owned(), option]);
    }
    arguments.extend(["-p".to_owned(), target.address.port().to_string()]);
    arguments.push(format!("root@{}", target.address.ip()));
    if !command.is_empty() {
        arguments.push("--".to_owned());
        arguments.extend(command.iter().cloned());
    }
    arguments
}

/// The line for the known-hosts file of one machine.
pub fn known_hosts_line(machine: &str, host_key: &str) -> String {
    format!("{machine} {}\n", keys::bare(host_key))
}

/// `ssh` expands `%` and splits at spaces in paths.
fn option_path(path: &std::path::Path) -> String {
    format!("\"{}\"", path.display().to_string().replace('%', "%%"))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn the_command_line() {
        let target = Target {
            machine: "dev".to_owned(),
            address: ([127, 0, 0, 1], 41022).into(),
            key: "/h/100%/id".into(),
            host_key: "ssh-ed25519 AAAA x".to_owned(),
        };
        let command = ["uname".to_owned(), "-a".to_owned()];
        let arguments = ssh_arguments(&target, "/h/a b/known_hosts".as_ref(), &command);
        expect![[r#"-F none -o HostKeyAlias=dev -o UserKnownHostsFile="/h/a b/known_hosts" -o GlobalKnownHostsFile=none -o StrictHostKeyChecking=yes -o HostKeyAlgorithms=ssh-ed25519 -o IdentityFile="/h/100%%/id" -o IdentitiesOnly=yes -o IdentityAgent=none -o PasswordAuthentication=no -o UpdateHostKeys=no -o ConnectTimeout=10 -o ServerAliveInterval=15 -o LogLevel=ERROR -p 41022 root@127.0.0.1 -- uname -a"#]].assert_eq(&arguments.join(" "));
        assert_eq!(known_hosts_line("dev", &target.host_key), "dev ssh-ed25519 AAAA\n");
    }
}
