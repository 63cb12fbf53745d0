//! The simulated city (仿真城市): what the hub is shown when there is no city to show it.
//!
//! It stands outside: it writes an import folder like the one a real city hands over, and then
//! speaks MQTT to the hub's socket like real devices. It is never linked into the hub.
//!
//! | module | what it does |
//! | --- | --- |
//! | [`city`] | the demo's import folder: area tree, map, organisations, posts, 420 hydrants |
//! | [`client`] | one device on MQTT 5: connect, publish, resolve on PUBACK, reconnect, re-send |
//! | [`hydraulics`] | mains, risers and the pressures of the hydrants that hang on them |
//! | [`faults`] | a burst, a leak, a silent device, malformed payloads: scripts and single faults |
//! | [`fleet`] | the hydrants running: samples by interval and by exception, answers to commands |
//! | [`control`] | a small HTTP door on loopback to start a fault now and to look at the state |
//! | [`gateway`] | a stand-in for the gateway of SMS, voice and WeCom: shows what the hub sends |

pub mod city;
pub mod client;
pub mod control;
pub mod faults;
pub mod fleet;
pub mod gateway;
pub mod hydraulics;
