//! ARNs of queues, topics and subscriptions: `arn:aws:sqs:REGION:ACCOUNT:NAME`, `arn:aws:sns:REGION:ACCOUNT:NAME[:ID]`. Region and
//! account are echoed, never looked at.

/// Writes the ARN of a queue.
#[must_use]
pub fn of_queue(region: &str, account: &str, name: &str) -> String {
    of("sqs", region, account, name)
}

/// Writes the ARN of a topic.
#[must_use]
pub fn of_topic(region: &str, account: &str, name: &str) -> String {
    of("sns", region, account, name)
}

fn of(service: &str, region: &str, account: &str, name: &str) -> String {
    let partition = match region {
        region if region.starts_with("cn-") => "aws-cn",
        region if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    };
    format!("arn:{partition}:{service}:{region}:{account}:{name}")
}

/// The queue's name in an ARN; `None` if it is not a queue's ARN.
#[must_use]
pub fn queue_name(arn: &str) -> Option<&str> {
    match parts("sqs", arn)? {
        (name, None) => Some(name),
        (_, Some(_)) => None,
    }
}

/// The topic's name in an ARN; `None` if it is not a topic's ARN.
#[must_use]
pub fn topic_name(arn: &str) -> Option<&str> {
    match parts("sns", arn)? {
        (name, None) => Some(name),
        (_, Some(_)) => None,
    }
}

/// The topic's name and the subscription's id in an ARN; `None` if it is not a subscription's ARN.
#[must_use]
pub fn subscription(arn: &str) -> Option<(&str, &str)> {
    let (name, id) = parts("sns", arn)?;
    id.filter(|id| !id.is_empty()).map(|id| (name, id))
}

/// The name of a thing of a service, and what follows it.
fn parts<'a>(of: &str, arn: &'a str) -> Option<(&'a str, Option<&'a str>)> {
    let mut parts = arn.split(':');
    let (scheme, partition, service) = (parts.next()?, parts.next()?, parts.next()?);
    let (_region, _account, name) = (parts.next()?, parts.next()?, parts.next()?);
    let rest = parts.next();
    let is_its = scheme == "arn" && partition.starts_with("aws") && service == of && parts.next().is_none();
    (is_its && !name.is_empty()).then_some((name, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_names_its_queue() {
        let arn = of_queue("eu-central-1", "000000000000", "orders-dead");
        assert_eq!(arn, "arn:aws:sqs:eu-central-1:000000000000:orders-dead");
        assert_eq!(queue_name(&arn), Some("orders-dead"));
        assert_eq!(queue_name(&of_queue("cn-north-1", "1", "q")), Some("q"));
    }

    #[test]
    fn topics_and_subscriptions_have_arns() {
        let arn = of_topic("eu-central-1", "0", "orders");
        assert_eq!(arn, "arn:aws:sns:eu-central-1:0:orders");
        assert_eq!((topic_name(&arn), subscription(&arn)), (Some("orders"), None));
        let arn = format!("{arn}:id");
        assert_eq!((topic_name(&arn), subscription(&arn)), (None, Some(("orders", "id"))));
        for arn in
            ["", "arn:aws:sqs:r:0:q", "arn:aws:sns:r:0:", "arn:aws:sns:r:0:t:", "arn:aws:sns:r:0:t:i:x"]
        {
            assert_eq!(subscription(arn), None, "{arn}");
        }
    }

    #[test]
    fn what_is_no_queue_has_no_name() {
        for arn in ["", "q", "arn:aws:sns:us-east-1:0:t", "arn:aws:sqs:us-east-1:0:", "arn:aws:sqs:a:b:c:d"] {
            assert_eq!(queue_name(arn), None, "{arn}");
        }
    }
}
