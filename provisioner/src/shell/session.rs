//! The real shell: one SSH connection through libssh2, logged in as root.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use ssh2::{BlockDirections, Channel, MethodType, Session};

use super::{Call, Connect, Shell, SshError, Target, keys};

/// How long one attempt to connect and agree on keys may take; emulated guests are slow at it.
const ATTEMPT: Duration = Duration::from_secs(30);

/// Between two attempts. Something must answer at all before there is anything to wait on.
const PAUSE: Duration = Duration::from_millis(100);

/// How much is read or written at a time.
const CHUNK: usize = 64 << 10;

/// Connects with libssh2.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ssh2;

impl Connect for Ssh2 {
    fn connect(&self, target: &Target, deadline: Duration) -> Result<Box<dyn Shell>, SshError> {
        let begin = Instant::now();
        loop {
            let left = deadline.saturating_sub(begin.elapsed());
            let err = match handshake(target, left.min(ATTEMPT)) {
                Ok((session, stream)) => return Connection::log_in(target, session, stream),
                Err(err) => err,
            };
            if left <= PAUSE {
                return Err(SshError::Unreachable {
                    machine: target.machine.clone(),
                    address: target.address,
                    waited: deadline,
                    console: String::new(),
                    source: err,
                });
            }
            tracing::debug!(machine = target.machine, %err, "SSH does not answer yet");
            thread::sleep(PAUSE);
        }
    }
}

fn handshake(target: &Target, patience: Duration) -> io::Result<(Session, TcpStream)> {
    let patience = patience.max(Duration::from_millis(1));
    let stream = TcpStream::connect_timeout(&target.address, patience)?;
    stream.set_nodelay(true)?;
    let mut session = Session::new()?;
    session.set_timeout(u32::try_from(patience.as_millis()).unwrap_or(u32::MAX));
    session.method_pref(MethodType::HostKey, "ssh-ed25519")?;
    session.set_tcp_stream(stream.try_clone()?);
    session.handshake()?;
    Ok((session, stream))
}

/// One logged-in connection.
struct Connection {
    machine: String,
    session: Session,
    /// The session's own socket once more, to wait on.
    stream: TcpStream,
}

impl Connection {
    /// Compares the host key before anything of ours is sent, then logs in.
    fn log_in(
        target: &Target,
        session: Session,
        stream: TcpStream,
    ) -> Result<Box<dyn Shell>, SshError> {
        let machine = target.machine.clone();
        let shown = session.host_key().map(|(key, _)| key).unwrap_or_default();
        if shown != keys::blob_of(&target.host_key)? {
            return Err(SshError::WrongHostKey {
                machine,
                address: target.address,
                shown: keys::fingerprint(shown),
            });
        }
        session.userauth_pubkey_file("root", None, &target.key, None).map_err(|source| {
            SshError::Refused { machine: machine.clone(), key: target.key.clone(), source }
        })?;
        Ok(Box::new(Connection { machine, session, stream }))
    }

    fn broken(&self, doing: &str) -> impl FnOnce(io::Error) -> SshError {
        let (machine, doing) = (self.machine.clone(), doing.to_owned());
        move |source| SshError::Broken { machine, doing, source }
    }

    /// What libssh2 waited for when its last call could not go on.
    fn wanted(&self) -> PollFlags {
        match self.session.block_directions() {
            BlockDirections::None | BlockDirections::Inbound => PollFlags::IN,
            BlockDirections::Outbound => PollFlags::OUT,
            BlockDirections::Both => PollFlags::IN | PollFlags::OUT,
        }
    }

    /// Waits until the socket can do one of these.
    fn wait(&self, flags: PollFlags, patience: Duration) -> io::Result<()> {
        let timeout = Timespec::try_from(patience).ok();
        let mut fds = [PollFd::from_borrowed_fd(self.stream.as_fd(), flags)];
        match poll(&mut fds, timeout.as_ref())? {
            0 => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("nothing was heard for {patience:?}"),
            )),
            _ => Ok(()),
        }
    }

    /// Moves input, output and complaints until the command has ended, as whichever is possible.
    fn pump(&self, channel: &mut Channel, call: &mut Call<'_>) -> io::Result<()> {
        let mut outgoing = Outgoing::new(call.input.take());
        let mut buffer = vec![0; CHUNK];
        loop {
            let wrote = outgoing.advance(channel)?;
            // Asked now, because the reads below overwrite it.
            let to_write = if outgoing.ended { PollFlags::empty() } else { self.wanted() };
            let out = drain(&mut channel.stream(0), &mut buffer, call.stdout)?;
            let err = drain(&mut channel.stream(1), &mut buffer, call.stderr)?;
            if wrote || out || err {
                continue;
            }
            if channel.eof() {
                return Ok(());
            }
            self.wait(to_write | self.wanted(), call.patience)?;
        }
    }
}

impl Shell for Connection {
    fn call(&mut self, mut call: Call<'_>) -> Result<i32, SshError> {
        let doing = format!("running `{}`", shorten(call.command));
        let failed = || self.broken(&doing);
        self.session.set_blocking(true);
        let millis = u32::try_from(call.patience.as_millis()).unwrap_or(u32::MAX);
        self.session.set_timeout(millis);
        let mut channel =
            self.session.channel_session().map_err(io::Error::from).map_err(failed())?;
        channel.exec(call.command).map_err(io::Error::from).map_err(failed())?;

        self.session.set_blocking(false);
        let pumped = self.pump(&mut channel, &mut call);
        self.session.set_blocking(true);
        pumped.map_err(failed())?;

        // In this order: closing without having seen the other side's end is an error in libssh2.
        channel.wait_eof().map_err(io::Error::from).map_err(failed())?;
        channel.close().map_err(io::Error::from).map_err(failed())?;
        channel.wait_close().map_err(io::Error::from).map_err(failed())?;
        channel.exit_status().map_err(io::Error::from).map_err(failed())
    }
}

/// What still has to be sent to the command's input.
struct Outgoing<'a> {
    input: Option<&'a mut dyn Read>,
    buffer: Vec<u8>,
    sent: usize,
    ended: bool,
}

impl<'a> Outgoing<'a> {
    fn new(input: Option<&'a mut dyn Read>) -> Outgoing<'a> {
        Outgoing { input, buffer: Vec::new(), sent: 0, ended: false }
    }

    /// Sends what can be sent now; whether anything was.
    fn advance(&mut self, channel: &mut Channel) -> io::Result<bool> {
        if self.ended {
            return Ok(false);
        }
        if self.sent == self.buffer.len() {
            self.refill()?;
        }
        if self.buffer.is_empty() {
            return match ready(channel.send_eof().map_err(io::Error::from))? {
                Some(()) => {
                    self.ended = true;
                    Ok(true)
                }
                None => Ok(false),
            };
        }
        match ready(channel.write(&self.buffer[self.sent..])) {
            Ok(Some(n)) => {
                self.sent += n;
                Ok(n > 0)
            }
            Ok(None) => Ok(false),
            // The command ended without reading everything; its exit code tells why.
            Err(_) if channel.eof() => {
                self.ended = true;
                Ok(true)
            }
            Err(err) => Err(err),
        }
    }

    fn refill(&mut self) -> io::Result<()> {
        self.buffer.resize(CHUNK, 0);
        self.sent = 0;
        let n = match &mut self.input {
            Some(input) => input.read(&mut self.buffer)?,
            None => 0,
        };
        self.buffer.truncate(n);
        Ok(())
    }
}

fn drain(from: &mut dyn Read, buffer: &mut [u8], to: &mut dyn Write) -> io::Result<bool> {
    match ready(from.read(buffer))? {
        None | Some(0) => Ok(false),
        Some(n) => {
            to.write_all(&buffer[..n])?;
            Ok(true)
        }
    }
}

/// None for "not now".
fn ready<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(err) if err.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(err) => Err(err),
    }
}

/// Long commands, such as those that write a file, are named by their beginning.
fn shorten(command: &str) -> String {
    const MOST: usize = 80;
    match command.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", &command[..at]),
        None => command.to_owned(),
    }
}
