//! The few questions the command line asks the cluster's API itself.

use std::time::Duration;

use reqwest::{Certificate, Client, Identity, StatusCode};
use serde_json::Value;

use crate::exit::Exit;
use crate::report::{Report, chain};

/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Where the API is and who asks; all PEM.
#[derive(Debug)]
pub(crate) struct Credentials {
    /// `https://host:port`
    pub(crate) server: String,
    pub(crate) ca: String,
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// A client of one cluster's API.
#[derive(Debug)]
pub(crate) struct Api {
    server: String,
    client: Client,
    runtime: tokio::runtime::Runtime,
}

impl Api {
    pub(crate) fn new(credentials: &Credentials) -> Result<Api, Report> {
        let broken = |err: &dyn std::error::Error| {
            Report::of("HOST_KUBECONFIG", Exit::HOST_ERROR, err)
                .advise("`minik start` writes the certificates anew")
        };
        let identity = format!("{}{}", credentials.certificate, credentials.key);
        let client = Client::builder()
            .tls_certs_only([
                Certificate::from_pem(credentials.ca.as_bytes()).map_err(|err| broken(&err))?
            ])
            .identity(Identity::from_pem(identity.as_bytes()).map_err(|err| broken(&err))?)
            .timeout(REQUEST_TIMEOUT)
            .no_proxy()
            .build()
            .map_err(|err| broken(&err))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|err| Report::of("HOST_ERROR", Exit::HOST_ERROR, &err))?;
        Ok(Api { server: credentials.server.clone(), client, runtime })
    }

    /// The object at `path`; none where the API says that it does not exist.
    pub(crate) fn get(&self, path: &str) -> Result<Option<Value>, Report> {
        self.runtime.block_on(async {
            let url = format!("{}{path}", self.server);
            let answer = self.client.get(url).send().await.map_err(|err| unreachable(&err))?;
            let status = answer.status();
            if status == StatusCode::NOT_FOUND {
                return Ok(None);
            }
            let body = answer.bytes().await.map_err(|err| unreachable(&err))?;
            let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
            if status.is_success() {
                return Ok(Some(body));
            }
            let message = body["message"].as_str().unwrap_or("no reason given").to_owned();
            Err(Report::new(
                "K8S_API_ERROR",
                Exit::CONTROL_PLANE_ERROR,
                format!("the API answered {status}: {message}"),
            ))
        })
    }

    /// Deletes the object at `path`; one that is not there is deleted already.
    pub(crate) fn delete(&self, path: &str) -> Result<(), Report> {
        self.runtime.block_on(async {
            let url = format!("{}{path}", self.server);
            let answer = self.client.delete(url).send().await.map_err(|err| unreachable(&err))?;
            match answer.status() {
                status if status.is_success() || status == StatusCode::NOT_FOUND => Ok(()),
                status => Err(Report::new(
                    "K8S_API_ERROR",
                    Exit::CONTROL_PLANE_ERROR,
                    format!("the API answered {status} to the deletion of {path}"),
                )),
            }
        })
    }

    /// The items of a list.
    pub(crate) fn list(&self, path: &str) -> Result<Vec<Value>, Report> {
        let list = self.get(path)?.unwrap_or(Value::Null);
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    /// Follows the list at `path` until `found` says yes, for at most `patience`.
    ///
    /// One list, then one watch from its revision: nothing is asked twice.
    pub(crate) fn wait_for(
        &self,
        path: &str,
        patience: Duration,
        mut found: impl FnMut(&Value) -> bool,
    ) -> Result<bool, Report> {
        let Some(list) = self.get(path)? else { return Ok(false) };
        if list["items"].as_array().is_some_and(|items| items.iter().any(&mut found)) {
            return Ok(true);
        }
        let from = list["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        let joint = if path.contains('?') { '&' } else { '?' };
        let url = format!("{}{path}{joint}watch=true&resourceVersion={from}", self.server);
        let watched = self.runtime.block_on(async {
            tokio::time::timeout(patience, async {
                let mut answer = self
                    .client
                    .get(url)
                    .timeout(patience + REQUEST_TIMEOUT)
                    .send()
                    .await
                    .map_err(|err| unreachable(&err))?;
                let mut lines = Vec::new();
                while let Some(chunk) = answer.chunk().await.map_err(|err| unreachable(&err))? {
                    lines.extend_from_slice(&chunk);
                    while let Some(end) = lines.iter().position(|byte| *byte == b'\n') {
                        let line: Vec<u8> = lines.drain(..=end).collect();
                        let event: Value = serde_json::from_slice(&line).unwrap_or(Value::Null);
                        if found(&event["object"]) {
                            return Ok(true);
                        }
                    }
                }
                Ok(false)
            })
            .await
        });
        watched.unwrap_or(Ok(false))
    }
}

fn unreachable(err: &reqwest::Error) -> Report {
    Report::new(
        "K8S_UNREACHABLE",
        Exit::CONTROL_PLANE_UNAVAILABLE,
        format!("the cluster's API cannot be reached: {}", chain(err)),
    )
    .advise("see `minik status`; `minik start` brings a stopped cluster back")
}
