//! The service: applies the identity, then waits for the host, for SSH to come up and for the power button.
//!
//! ```text
//! no identity ──rehome──→ identity applied ──ssh-is-up──→ ready
//!      ↑ a template waits here     └── systemd starts SSH ──┘
//! ```

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;

use rustix::event::epoll;
use serde_json::Value;

use crate::channel::{self, Channel, Request};
use crate::error::{Error, chain, on_file, on_system};
use crate::facts;
use crate::saved::{self, Saved};
use crate::seed::{Documents, Seed};
use crate::{clock, identity, network, notify, power, say};

const CHANNEL: u64 = 0;
const SOCKET: u64 = 1;
const BUTTON: u64 = 2;

struct Agent {
    seed: Option<Seed>,
    channel: Option<Channel>,
    ssh_is_up: bool,
}

/// Runs until the machine goes down.
pub(crate) fn run() -> Result<(), Error> {
    let seed = match saved::read(Path::new(saved::PATH))? {
        Some(saved) => Some(saved.documents.parse()?),
        None => None,
    };
    let socket = listen()?;
    let mut agent = Agent { seed, channel: None, ssh_is_up: false };
    if let Some(seed) = &agent.seed {
        network::apply(&seed.nics)?;
        notify::tell_systemd_ready()?;
    }
    agent.channel = match Channel::open() {
        Ok(channel) => Some(channel),
        Err(error) => {
            say(&format!("minik-agent: {error}"));
            None
        }
    };
    agent.serve(&socket)
}

fn listen() -> Result<UnixDatagram, Error> {
    let path = Path::new(notify::AGENT_SOCKET);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(on_file("make", parent))?;
    }
    drop(fs::remove_file(path));
    UnixDatagram::bind(path).map_err(on_file("listen on", path))
}

impl Agent {
    fn serve(&mut self, socket: &UnixDatagram) -> Result<(), Error> {
        let mut button = power::button();
        let queue =
            epoll::create(epoll::CreateFlags::CLOEXEC).map_err(on_system("wait for events"))?;
        let watch = |fd: std::os::fd::BorrowedFd<'_>, what, flags| {
            epoll::add(&queue, fd, epoll::EventData::new_u64(what), flags)
                .map_err(on_system("wait for events"))
        };
        use std::os::fd::AsFd;
        watch(socket.as_fd(), SOCKET, epoll::EventFlags::IN)?;
        if let Some(button) = &button {
            watch(button.as_fd(), BUTTON, epoll::EventFlags::IN)?;
        }
        if let Some(channel) = &self.channel {
            let edges = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
            watch(channel.fd(), CHANNEL, edges)?;
        }
        self.look_at_channel();
        loop {
            let mut events = Vec::with_capacity(4);
            match epoll::wait(&queue, rustix::buffer::spare_capacity(&mut events), None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(on_system("wait for events")(errno)),
            }
            for event in &events {
                match event.data.u64() {
                    SOCKET => self.hear_local(socket),
                    BUTTON => press(button.as_mut()),
                    _ => self.look_at_channel(),
                }
            }
        }
    }

    fn hear_local(&mut self, socket: &UnixDatagram) {
        let mut buffer = [0; 64];
        let Ok(length) = socket.recv(&mut buffer) else { return };
        if &buffer[..length] == notify::SSH_IS_UP.as_bytes() {
            self.ssh_is_up = true;
            self.announce();
        }
    }

    fn look_at_channel(&mut self) {
        let Some(channel) = &mut self.channel else { return };
        let heard = channel.look();
        if heard.connected {
            self.announce();
        }
        for line in heard.lines {
            let answer = match channel::parse(&line) {
                Ok(request) => self.answer(request),
                Err(answer) => answer,
            };
            self.say_to_host(&answer);
        }
    }

    /// Says where this guest stands; nothing while SSH is on its way.
    fn announce(&mut self) {
        match &self.seed {
            None => self.say_to_host(&channel::waiting()),
            Some(seed) if self.ssh_is_up => {
                let ready = channel::ready(&facts::collect(seed));
                self.say_to_host(&ready);
            }
            Some(_) => {}
        }
    }

    fn say_to_host(&mut self, message: &Value) {
        if let Some(channel) = &mut self.channel {
            channel.send(message);
        }
    }

    fn answer(&mut self, request: Request) -> Value {
        let (id, outcome) = match request {
            Request::Facts { id } => (id, Ok(())),
            Request::Poweroff { id } => (id, power::off()),
            Request::Rehome { id, seed } => (id, self.rehome(seed)),
        };
        match outcome {
            Ok(()) => channel::done(id, self.seed.as_ref().map(facts::collect).as_ref()),
            Err(error) => {
                say(&format!("minik-agent: {}", chain(&error)));
                channel::failed(id, &error)
            }
        }
    }

    /// Takes over a new identity while running. The seed is kept first, so that a guest that loses power half-way
    /// comes back as the new one.
    fn rehome(&mut self, documents: Documents) -> Result<(), Error> {
        let seed = documents.parse()?;
        let replaces = self.seed.as_ref().map(|old| old.instance_id.clone());
        saved::write(Path::new(saved::PATH), &Saved { documents, replaces })?;
        clock::not_before(seed.time_unix_ms)?;
        stir_entropy(&seed)?;
        identity::write(Path::new("/"), &seed)?;
        rustix::system::sethostname(seed.hostname.as_bytes())
            .map_err(on_system("set the hostname"))?;
        network::apply(&seed.nics)?;
        let had_identity = self.seed.replace(seed).is_some();
        notify::tell_systemd_ready()?;
        if had_identity {
            self.ssh_is_up = false;
            restart_ssh()?;
        }
        Ok(())
    }
}

fn press(button: Option<&mut fs::File>) {
    if let Some(button) = button
        && power::was_pressed(button)
        && let Err(error) = power::off()
    {
        say(&format!("minik-agent: {}", chain(&error)));
    }
}

/// Two clones start with the same random state; the new host key, which only this one has, makes them differ.
fn stir_entropy(seed: &Seed) -> Result<(), Error> {
    let pool = "/dev/urandom";
    fs::OpenOptions::new()
        .write(true)
        .open(pool)
        .and_then(|mut file| file.write_all(seed.host_key.private.as_bytes()))
        .map_err(on_file("stir", pool))
}

/// The server reads its host key at start only.
fn restart_ssh() -> Result<(), Error> {
    let status = Command::new("/usr/bin/systemctl")
        .args(["restart", "--no-block", "ssh.service"])
        .status()
        .map_err(on_file("run", "/usr/bin/systemctl"))?;
    if status.success() {
        return Ok(());
    }
    Err(Error::Program { program: "systemctl restart ssh".into(), said: status.to_string() })
}
