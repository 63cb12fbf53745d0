//! What the gateway counts. Handles are taken once, when the gateway starts, so that counting a
//! message costs one atomic addition; the recorder must be installed before.

use metrics::{Counter, Gauge, Histogram, counter, describe_counter, describe_gauge, describe_histogram};

pub(crate) struct Meters {
    pub(crate) connections: Gauge,
    pub(crate) messages: Counter,
    pub(crate) unreadable: Counter,
    pub(crate) not_stored: Counter,
    pub(crate) ack_seconds: Histogram,
    pub(crate) delivered: Counter,
    pub(crate) answers: Counter,
    pub(crate) unmatched: Counter,
}

impl Meters {
    pub(crate) fn new() -> Self {
        describe_gauge!("zhongshu_mqtt_connections", "devices connected now");
        describe_counter!("zhongshu_mqtt_messages_total", "PUBLISH packets taken");
        describe_counter!("zhongshu_mqtt_unreadable_total", "PUBLISH packets kept as unreadable");
        describe_counter!("zhongshu_mqtt_not_stored_total", "observations of batches the store refused");
        describe_counter!("zhongshu_mqtt_refused_total", "connections refused or closed, by reason");
        describe_counter!("zhongshu_mqtt_delivered_total", "messages sent to subscribers");
        describe_counter!("zhongshu_mqtt_dropped_total", "messages not kept for a subscriber, by reason");
        describe_counter!(
            "zhongshu_mqtt_replies_total",
            "messages on reply topics, by whether somebody waited for such an answer"
        );
        describe_histogram!(
            "zhongshu_mqtt_ack_seconds",
            metrics::Unit::Seconds,
            "from the receipt of a QoS 1 or 2 message to its PUBACK or PUBREC"
        );
        Self {
            connections: metrics::gauge!("zhongshu_mqtt_connections"),
            messages: counter!("zhongshu_mqtt_messages_total"),
            unreadable: counter!("zhongshu_mqtt_unreadable_total"),
            not_stored: counter!("zhongshu_mqtt_not_stored_total"),
            delivered: counter!("zhongshu_mqtt_delivered_total"),
            answers: counter!("zhongshu_mqtt_replies_total", "awaited" => "yes"),
            unmatched: counter!("zhongshu_mqtt_replies_total", "awaited" => "no"),
            ack_seconds: metrics::histogram!("zhongshu_mqtt_ack_seconds"),
        }
    }

    /// Counts a message that was not kept; `reason` is one of a fixed set of words.
    pub(crate) fn dropped(&self, reason: &'static str) {
        counter!("zhongshu_mqtt_dropped_total", "reason" => reason).increment(1);
    }

    /// Counts a refusal; `reason` is one of a fixed set of words.
    pub(crate) fn refused(&self, reason: &'static str) {
        counter!("zhongshu_mqtt_refused_total", "reason" => reason).increment(1);
    }
}
