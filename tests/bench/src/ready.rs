//! How soon a server is ready after its program was started.

use std::process::Stdio;
use std::time::Instant;

use tokio::process::Command;

use crate::server::Server;
use crate::{Failure, PATIENCE, print};

/// Starts it, asks until it says that it is ready, and ends it.
pub(crate) async fn measure(server: &Server, command: &[String]) -> Result<(), Failure> {
    let [program, arguments @ ..] = command else { return Err("no command".into()) };
    let client = server.client(false)?;
    let began = Instant::now();
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    // Asked without a pause: this is what is measured.
    while server.get(&client, "/readyz").send().await.is_err() {
        if let Some(status) = child.try_wait()? {
            return Err(format!("the server ended: {status}").into());
        }
        if began.elapsed() > PATIENCE {
            return Err("the server does not become ready".into());
        }
    }
    print(&format!("ready    {:>9.0} ms after exec", began.elapsed().as_secs_f64() * 1000.0));
    child.kill().await?;
    Ok(())
}
