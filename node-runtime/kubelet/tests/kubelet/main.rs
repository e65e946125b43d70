//! The kubelet against a scripted runtime and a small API, in one process and in virtual time.

mod api;
mod containers;
mod node;
mod restart;
mod server;
mod volumes;
mod world;
