use std::sync::Arc;

use model::broker::{
    BrokerStore as _, Change, Delivery, Image, Message, Owner, Properties, Session, SessionKey, Subscription,
    Will,
};
use model::{AreaPath, Micros};
use watch::broker::StoredBroker;

use crate::on_each;

fn key(owner: Owner, client: &str) -> SessionKey {
    SessionKey { owner, client: client.into() }
}

fn session(key: &SessionKey) -> Session {
    Session {
        key: key.clone(),
        expiry_seconds: u32::MAX,
        ends_at: None,
        sent_to: i64::MAX,
        read: vec![AreaPath::parse("50/500112/").unwrap()],
        will: Some(Will {
            // Its expiry is counted from its publication.
            message: Message { expires_at: None, ..message("zs/v1/h-1/gone", 2) },
            expiry_seconds: Some(60),
            delay_seconds: 5,
            due_at: Some(Micros(7)),
        }),
    }
}

fn message(topic: &str, qos: u8) -> Message {
    let properties = Properties {
        text: Some(true),
        correlation_data: Some(vec![0, 255]),
        user: vec![("a".into(), "1".into()), ("a".into(), "2".into())],
        ..Properties::default()
    };
    Message {
        topic: topic.into(),
        payload: vec![0, 1, 2].into(),
        qos,
        retain: false,
        expires_at: Some(Micros(9)),
        properties: Some(Box::new(properties)),
    }
}

fn delivery(session: &Arc<SessionKey>, sequence: i64, message: i64) -> Delivery {
    Delivery {
        session: session.clone(),
        sequence,
        message,
        packet_id: u16::MAX,
        qos: 2,
        retain: true,
        identifiers: vec![1, 268_435_455],
        released: false,
    }
}

#[tokio::test]
async fn what_was_kept_is_found_and_the_same_changes_may_come_twice() {
    on_each(|database| async move {
        let store = database.open().await.unwrap();
        let broker = StoredBroker::new(store.clone());
        assert_eq!(broker.load().await.unwrap(), Image::default());
        let [device, integrator, nobody] =
            [Owner::Device("h-1".into()), Owner::Integrator("telegraf".into()), Owner::Anonymous]
                .map(|owner| Arc::new(key(owner, "同一个")));
        let subscription =
            |filter: &str| Subscription { filter: filter.into(), options: 0b10_1110, identifier: Some(7) };
        let changes = [
            Change::Save(Box::new(session(&device))),
            Change::Save(Box::new(session(&integrator))),
            Change::Save(Box::new(session(&nobody))),
            Change::Subscribe(integrator.clone(), subscription("zs/v1/+/#")),
            Change::Subscribe(integrator.clone(), subscription("$share/g/a")),
            Change::Unsubscribe(integrator.clone(), "$share/g/a".into()),
            Change::Keep(1, Arc::new(message("a", 1))),
            Change::Keep(2, Arc::new(message("b", 2))),
            Change::Queue(delivery(&device, 1, 1)),
            Change::Queue(delivery(&integrator, 1, 1)),
            Change::Queue(delivery(&integrator, 2, 2)),
            Change::Release(integrator.clone(), 2),
            Change::Done(device.clone(), 1),
            Change::Received(device.clone(), 3),
            Change::Received(device.clone(), 4),
            Change::Completed(device.clone(), 3),
            Change::Queue(delivery(&nobody, 1, 2)),
            Change::Received(nobody.clone(), 1),
            Change::End(nobody.clone()),
            Change::Retain(Arc::new(Message { retain: true, ..message("kept", 1) })),
            Change::Retain(Arc::new(Message { retain: true, ..message("gone", 1) })),
            Change::Unretain("gone".into()),
        ];
        for _ in 0..2 {
            broker.commit(&changes).await.unwrap();
            let mut found = broker.load().await.unwrap();
            found.sessions.sort_by(|a, b| a.key.cmp(&b.key));
            found.messages.sort_by_key(|m| m.0);
            found.deliveries.sort_by_key(|d| d.sequence);
            let expected = Image {
                sessions: vec![session(&device), session(&integrator)],
                subscriptions: vec![((*integrator).clone(), subscription("zs/v1/+/#"))],
                messages: vec![(1, message("a", 1)), (2, message("b", 2))],
                deliveries: vec![
                    delivery(&integrator, 1, 1),
                    Delivery { released: true, ..delivery(&integrator, 2, 2) },
                ],
                received: vec![((*device).clone(), 4)],
                retained: vec![Message { retain: true, ..message("kept", 1) }],
            };
            assert_eq!(found, expected);
        }
        broker.commit(&[Change::Forget(1), Change::Forget(1)]).await.unwrap();
        assert_eq!(broker.load().await.unwrap().messages.len(), 1);
        store.stop().await;
    })
    .await;
}
