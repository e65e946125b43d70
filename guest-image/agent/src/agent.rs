//! The service: applies the identity, then waits for the host, for SSH to come up and for the power button.
//!
//! ```text
//! no identity ──rehome──→ identity applied ──SSH listens──→ ready
//!      ↑ a template waits here     └─ systemd starts SSH ─┘
//! ```

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::event::epoll;
use serde_json::Value;

use crate::channel::{self, Channel, Request};
use crate::error::{Error, chain, on_file, on_system};
use crate::saved::{self, Saved};
use crate::seed::{Documents, Seed};
use crate::{clock, facts, identity, network, notify, power, say, ssh};

const CHANNEL: u64 = 0;
const SSH: u64 = 1;
const BUTTON: u64 = 2;

struct Agent {
    seed: Option<Seed>,
    channel: Option<Channel>,
    ssh: ssh::Watch,
    ssh_is_up: bool,
    button: Option<File>,
}

/// Runs until the machine goes down.
pub(crate) fn run() -> Result<(), Error> {
    let seed = match saved::read(Path::new(saved::PATH))? {
        Some(saved) => Some(saved.documents.parse()?),
        None => None,
    };
    let ssh = ssh::Watch::new()?;
    let mut agent =
        Agent { seed, channel: None, ssh, ssh_is_up: ssh::is_up_already(), button: None };
    if let Some(seed) = &agent.seed {
        network::apply(&[], &seed.nics)?;
    }
    notify::tell_systemd_ready()?;
    agent.channel = match Channel::open() {
        Ok(channel) => Some(channel),
        Err(error) => {
            say(&format!("minik-agent: {error}"));
            None
        }
    };
    agent.serve()
}

impl Agent {
    fn serve(&mut self) -> Result<(), Error> {
        let queue =
            epoll::create(epoll::CreateFlags::CLOEXEC).map_err(on_system("wait for events"))?;
        let watch = |fd: BorrowedFd<'_>, what, flags| {
            epoll::add(&queue, fd, epoll::EventData::new_u64(what), flags)
                .map_err(on_system("wait for events"))
        };
        watch(self.ssh.fd(), SSH, epoll::EventFlags::IN)?;
        if let Some(channel) = &self.channel {
            let edges = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
            watch(channel.fd(), CHANNEL, edges)?;
        }
        self.look_at_channel();
        let mut nobody_waits = false;
        loop {
            // Off the way to readiness: what only a guest that runs already needs.
            if !nobody_waits && (self.ssh_is_up || self.seed.is_none()) {
                nobody_waits = true;
                self.button = power::button();
                if let Some(button) = &self.button {
                    watch(button.as_fd(), BUTTON, epoll::EventFlags::IN)?;
                }
            }
            let mut events = Vec::with_capacity(4);
            match epoll::wait(&queue, rustix::buffer::spare_capacity(&mut events), None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(on_system("wait for events")(errno)),
            }
            for event in &events {
                match event.data.u64() {
                    SSH => self.look_at_ssh(),
                    BUTTON => self.look_at_button(),
                    _ => self.look_at_channel(),
                }
            }
        }
    }

    fn look_at_ssh(&mut self) {
        if self.ssh.came_up() {
            self.ssh_is_up = true;
            self.announce();
        }
    }

    fn look_at_button(&mut self) {
        if let Some(button) = &mut self.button
            && power::was_pressed(button)
            && let Err(error) = power::off()
        {
            say(&format!("minik-agent: {}", chain(&error)));
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
    /// comes back as the new one. SSH starts by itself once there is a host key.
    fn rehome(&mut self, documents: Documents) -> Result<(), Error> {
        let seed = documents.parse()?;
        let before = self.seed.take();
        let replaces = before.as_ref().map(|old| old.instance_id.clone());
        saved::write(Path::new(saved::PATH), &Saved { documents, replaces })?;
        clock::not_before(seed.time_unix_ms)?;
        stir_entropy(&seed)?;
        rustix::system::sethostname(seed.hostname.as_bytes())
            .map_err(on_system("set the hostname"))?;
        network::apply(before.as_ref().map_or(&[], |old| &old.nics), &seed.nics)?;
        identity::write(Path::new("/"), &seed)?;
        self.seed = Some(seed);
        if before.is_some() {
            self.ssh_is_up = false;
            ssh::restart()?;
        }
        Ok(())
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
