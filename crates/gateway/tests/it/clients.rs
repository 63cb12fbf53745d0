//! Programs of others: `mosquitto_pub` and `mosquitto_sub` (Debian's mosquitto-clients) and
//! paho-mqtt (PyPI), where they are installed.
//!
//! paho is looked for under the Python that `ZHONGSHU_PYTHON` names, else `target/python/bin/python`.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::conformance::raw::Plain;
use crate::harness::SOON;

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    if !found {
        println!("SKIPPED: {program} is not installed (Debian: mosquitto-clients)");
    }
    found
}

async fn python() -> Option<PathBuf> {
    let python = std::env::var_os("ZHONGSHU_PYTHON").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/python/bin/python");
    let python = python.unwrap_or(beside);
    let asked = Command::new(&python).args(["-c", "import paho.mqtt"]).stderr(Stdio::null()).status().await;
    if asked.is_ok_and(|status| status.success()) {
        return Some(python);
    }
    println!("SKIPPED: no paho-mqtt under {} (set ZHONGSHU_PYTHON)", python.display());
    None
}

fn mosquitto(program: &str, hub: &Plain, version: &str, arguments: &[&str]) -> Command {
    // Line by line: through a pipe it would speak in blocks.
    let mut command = Command::new("stdbuf");
    command
        .args([
            "-oL",
            program,
            "-h",
            "127.0.0.1",
            "-p",
            &hub.gateway.mqtt_addr().port().to_string(),
            "-V",
            version,
        ])
        .args(arguments)
        .kill_on_drop(true);
    command
}

async fn run(mut command: Command) -> String {
    let output = tokio::time::timeout(SOON * 3, command.output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}{error}");
    said
}

/// A `mosquitto_sub` that has its SUBACK.
async fn subscribed(mut command: Command) -> (Child, impl AsyncBufReadExt + Unpin) {
    let mut child = command.arg("-d").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("Subscribed") {
        line.clear();
        let read = tokio::time::timeout(SOON, lines.read_line(&mut line)).await.unwrap().unwrap();
        assert!(read > 0, "mosquitto_sub ended before its SUBACK");
    }
    (child, lines)
}

async fn hears(lines: &mut (impl AsyncBufReadExt + Unpin), expected: &str) {
    let mut line = String::new();
    loop {
        line.clear();
        let read = tokio::time::timeout(SOON, lines.read_line(&mut line)).await.unwrap().unwrap();
        assert!(read > 0, "mosquitto_sub ended without {expected:?}");
        if line.trim_end() == expected {
            return;
        }
    }
}

#[tokio::test]
async fn mosquitto_publishes_and_subscribes() {
    if !on_path("mosquitto_pub") || !on_path("mosquitto_sub") {
        return;
    }
    let hub = Plain::start().await;
    for version in ["mqttv311", "mqttv5"] {
        for qos in ["0", "1", "2"] {
            let sub = mosquitto("mosquitto_sub", &hub, version, &["-q", qos, "-t", "a/#", "-v"]);
            let (mut child, mut lines) = subscribed(sub).await;
            for payload in ["one", "two"] {
                run(mosquitto("mosquitto_pub", &hub, version, &["-q", qos, "-t", "a/b", "-m", payload]))
                    .await;
                hears(&mut lines, &format!("a/b {payload}")).await;
            }
            child.kill().await.unwrap();
        }
        // Retained, and a session that waited.
        run(mosquitto("mosquitto_pub", &hub, version, &["-r", "-q", "1", "-t", "kept", "-m", "k"])).await;
        let once = ["-t", "kept", "-C", "1", "-F", "%r %p"];
        assert_eq!(run(mosquitto("mosquitto_sub", &hub, version, &once)).await, "1 k\n");
        let durable = ["-c", "-i", "durable", "-q", "2", "-t", "later"];
        let expiry = if version == "mqttv5" { &["-x", "100"][..] } else { &[] };
        let durable: Vec<&str> = durable.iter().chain(expiry).copied().collect();
        run(mosquitto("mosquitto_sub", &hub, version, &[&durable[..], &["-E"]].concat())).await;
        for payload in ["1", "2", "3"] {
            run(mosquitto("mosquitto_pub", &hub, version, &["-q", "2", "-t", "later", "-m", payload])).await;
        }
        let waited = [&durable[..], &["-C", "3"]].concat();
        assert_eq!(run(mosquitto("mosquitto_sub", &hub, version, &waited)).await, "1\n2\n3\n");
        run(mosquitto("mosquitto_pub", &hub, version, &["-r", "-t", "kept", "-n"])).await;
        hub.client(if version == "mqttv5" { 5 } else { 4 }, "durable").await.leave().await;
    }
}

#[tokio::test]
async fn mosquitto_sees_a_will_and_the_properties_of_5() {
    if !on_path("mosquitto_sub") || !on_path("mosquitto_pub") {
        return;
    }
    let hub = Plain::start().await;
    let watch =
        mosquitto("mosquitto_sub", &hub, "mqttv5", &["-t", "#", "-q", "1", "-F", "%t %p %P %C %D %R"]);
    let (mut child, mut lines) = subscribed(watch).await;
    let with_will = ["-t", "x", "--will-topic", "wills", "--will-payload", "gone", "--will-qos", "1"];
    let (mut lost, _) = subscribed(mosquitto("mosquitto_sub", &hub, "mqttv311", &with_will)).await;
    lost.kill().await.unwrap();
    hears(&mut lines, "wills gone").await;
    let properties = [
        "-t",
        "p",
        "-m",
        "m",
        "-q",
        "1",
        "-D",
        "publish",
        "user-property",
        "a",
        "1",
        "-D",
        "publish",
        "content-type",
        "text",
        "-D",
        "publish",
        "correlation-data",
        "id",
        "-D",
        "publish",
        "response-topic",
        "answers",
    ];
    run(mosquitto("mosquitto_pub", &hub, "mqttv5", &properties)).await;
    hears(&mut lines, "p m a:1 text id answers").await;
    child.kill().await.unwrap();
}

const PAHO: &str = r#"
import sys, threading
import paho.mqtt.client as mqtt
from paho.mqtt.properties import Properties
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.subscribeoptions import SubscribeOptions

port = int(sys.argv[1])

def client(protocol, id, clean=True, expiry=0):
    c = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=id, protocol=protocol,
                    **({} if protocol == mqtt.MQTTv5 else {"clean_session": clean}))
    c.got, c.more, c.up, c.granted = [], threading.Condition(), threading.Event(), threading.Event()
    def message(_c, _u, m):
        with c.more:
            c.got.append(m)
            c.more.notify_all()
    def connected(_c, _u, flags, reason, _p):
        assert not reason.is_failure, reason
        c.present = flags.session_present
        c.up.set()
    def subscribed(_c, _u, _mid, reasons, _p):
        c.codes = [r.value for r in reasons]
        c.granted.set()
    c.on_message, c.on_connect, c.on_subscribe = message, connected, subscribed
    if protocol == mqtt.MQTTv5:
        p = Properties(PacketTypes.CONNECT)
        p.SessionExpiryInterval = expiry
        c.connect("127.0.0.1", port, clean_start=clean, properties=p)
    else:
        c.connect("127.0.0.1", port)
    c.loop_start()
    assert c.up.wait(10)
    return c

def wait(c, n):
    with c.more:
        assert c.more.wait_for(lambda: len(c.got) >= n, 10), (n, len(c.got))
    got, c.got = c.got, []
    return got

def subscribe(c, *a, **k):
    c.granted.clear()
    c.subscribe(*a, **k)
    assert c.granted.wait(10)
    return c.codes

def gone(c):
    c.disconnect()
    c.loop_stop()

for protocol in (mqtt.MQTTv311, mqtt.MQTTv5):
    sub, pub = client(protocol, "sub"), client(protocol, "pub")
    assert subscribe(sub, [("a/+", 0), ("b/#", 1), ("c", 2)]) == [0, 1, 2]
    for topic, qos in (("a/x", 0), ("b/y", 1), ("c", 2)):
        for n in range(50):
            pub.publish(topic, str(n), qos)
        got = wait(sub, 50)
        assert [m.payload for m in got] == [str(n).encode() for n in range(50)], topic
        assert {m.qos for m in got} == {qos}, (topic, qos, [m.qos for m in got])
        assert {m.topic for m in got} == {topic}
    # QoS 2 with more in flight than the window of either side.
    for n in range(1500):
        pub.publish("c", str(n), 2)
    got = wait(sub, 1500)
    assert [int(m.payload) for m in got] == list(range(1500))
    gone(sub)
    # A session that waits.
    durable = client(protocol, "durable", clean=False, expiry=100)
    assert not durable.present
    subscribe(durable, "later", 2)
    gone(durable)
    for n in range(20):
        pub.publish("later", str(n), 1 + n % 2).wait_for_publish(10)
    durable = client(protocol, "durable", clean=False, expiry=100)
    assert durable.present
    # paho hands a QoS 2 message on at its PUBREL: QoS 1 overtakes it.
    assert sorted(int(m.payload) for m in wait(durable, 20)) == list(range(20))
    gone(durable)
    gone(client(protocol, "durable"))
    gone(pub)

# What 5 adds.
sub, pub = client(mqtt.MQTTv5, "sub"), client(mqtt.MQTTv5, "pub")
p = Properties(PacketTypes.SUBSCRIBE)
p.SubscriptionIdentifier = 7
subscribe(sub, "t", options=SubscribeOptions(qos=1, noLocal=True), properties=p)
sub.publish("t", "own", 1).wait_for_publish(10)
p = Properties(PacketTypes.PUBLISH)
p.UserProperty = [("a", "1"), ("b", "2")]
p.ContentType, p.ResponseTopic, p.CorrelationData = "text", "answers", b"id"
p.PayloadFormatIndicator, p.MessageExpiryInterval, p.TopicAlias = 1, 60, 3
pub.publish("t", "other", 1, properties=p).wait_for_publish(10)
[m] = wait(sub, 1)
q = m.properties
assert m.payload == b"other" and q.UserProperty == [("a", "1"), ("b", "2")]
assert (q.ContentType, q.ResponseTopic, q.CorrelationData) == ("text", "answers", b"id")
assert q.PayloadFormatIndicator == 1 and 58 <= q.MessageExpiryInterval <= 60
assert q.SubscriptionIdentifier == [7], q
# Shared: between two, all and each once.
one, two = client(mqtt.MQTTv5, "one"), client(mqtt.MQTTv5, "two")
for c in (one, two):
    subscribe(c, "$share/g/s", 1)
for n in range(20):
    pub.publish("s", str(n), 1).wait_for_publish(10)
both = wait(one, 10) + wait(two, 10)
assert sorted(int(m.payload) for m in both) == list(range(20))
for c in (sub, pub, one, two):
    gone(c)
print("all well")
"#;

#[tokio::test]
async fn paho_publishes_and_subscribes() {
    let Some(python) = python().await else { return };
    let hub = Plain::with(|config| config.session_queue = 5000).await;
    let mut command = Command::new(python);
    command.args(["-c", PAHO, &hub.gateway.mqtt_addr().port().to_string()]).kill_on_drop(true);
    assert_eq!(run(command).await, "all well\n");
}
