//! What MQTT 5.0 adds to a message: properties, No Local, Topic Aliases.

use crate::bed::{Bed, expect_numbers, next};
use dunlin_client::{Client, Subscription, Text};
use dunlin_testkit::Random;
use std::time::Duration;

pub(crate) async fn no_local(bed: &mut Bed) {
    let (left, right) = (bed.connect("left").await, bed.connect("right").await);
    let subscribe = left.subscribe("n/#", bed.case.qos).no_local(true);
    let mut others_only = subscribe.await.expect("subscribed");
    let mut of_right = bed.subscribe(&right, "n/#").await;

    bed.publish_numbers(&left, "n/x", 0..20).await;
    expect_numbers(&mut of_right, 0..20).await;
    bed.publish_numbers(&right, "n/x", 20..30).await;
    expect_numbers(&mut of_right, 20..30).await;
    expect_numbers(&mut others_only, 20..30).await;
}

pub(crate) async fn request_and_response(bed: &mut Bed) {
    let (asking, answering) = (bed.connect("asking").await, bed.connect("answering").await);
    let mut requests = bed.subscribe(&answering, "square").await;
    let mut answers = bed.subscribe(&asking, "answers/asking").await;
    let qos = bed.case.qos;

    let answering = tokio::spawn(async move {
        while let Some(request) = requests.next().await {
            assert_eq!(request.content_type().map(Text::as_str), Some("text/plain"));
            let left = request.message_expiry_interval().expect("an interval");
            assert!(left <= Duration::from_secs(90));
            let number: u64 = std::str::from_utf8(request.payload()).unwrap().parse().unwrap();
            let to = request.response_topic().expect("a Response Topic").clone();
            let mut answer = answering
                .publish(to, (number * number).to_string())
                .qos(qos)
                .payload_format_indicator(true)
                .correlation_data(request.correlation_data().expect("it is there").clone());
            for (name, value) in request.user_properties() {
                answer = answer.user_property(name.clone(), value.clone());
            }
            answer.await.expect("published");
        }
    });
    // A failure of either is told at once.
    tokio::select! {
        answering = answering => panic!("{answering:?}"),
        () = ask(bed, &asking, &mut answers) => {}
    }
}

async fn ask(bed: &Bed, asking: &Client, answers: &mut Subscription) {
    for number in 0..20u64 {
        asking
            .publish("square", number.to_string())
            .qos(bed.case.qos)
            .content_type("text/plain")
            .response_topic("answers/asking")
            .correlation_data(number.to_be_bytes().to_vec())
            .user_property("unit", "m")
            .user_property("unit", "again")
            .message_expiry_interval(Duration::from_secs(90))
            .await
            .expect("published");
    }
    for number in 0..20u64 {
        let answer = next(answers).await;
        assert_eq!(answer.payload()[..], *(number * number).to_string().as_bytes());
        assert_eq!(answer.correlation_data().unwrap()[..], number.to_be_bytes());
        let properties = answer.properties().expect("there are some");
        assert_eq!(properties.payload_format_indicator, Some(true));
        let names: Vec<_> = answer
            .user_properties()
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(names, [("unit", "m"), ("unit", "again")]);
    }
}

/// More Topic Names than aliases, in no order, with connections that begin anew.
pub(crate) async fn topic_aliases(bed: &mut Bed) {
    let mut random = Random::new(8);
    let builder = bed.client("subscriber").topic_alias_maximum(5);
    let (subscriber, _) = builder.connect().await.expect("connected");
    let mut stream = bed.subscribe(&subscriber, "aliases/+/of/a/long/topic/name").await;
    for aliases in [0, 1, 7, 64] {
        let builder = bed.client("publisher").topic_alias_maximum(aliases);
        let (publisher, _) = builder.connect().await.expect("connected");
        let publishing = async {
            let mut expected = Vec::new();
            for number in 0..500 {
                let topic_name = format!("aliases/{}/of/a/long/topic/name", random.below(20));
                bed.message(&publisher, &topic_name, number).send().await.expect("queued");
                expected.push(topic_name);
            }
            expected
        };
        let reading = async {
            let mut topic_names = Vec::new();
            for expected in 0..500 {
                let received = next(&mut stream).await;
                assert_eq!(crate::bed::number(&received), expected);
                topic_names.push(received.topic_name().as_str().to_owned());
            }
            topic_names
        };
        let (expected, received) = tokio::join!(publishing, reading);
        assert_eq!(received, expected);
        publisher.disconnect().await.expect("disconnected");
    }
}
