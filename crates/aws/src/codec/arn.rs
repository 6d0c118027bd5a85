//! Queue ARNs: `arn:aws:sqs:REGION:ACCOUNT:NAME`. Region and account are echoed, never looked at.

/// Writes the ARN of a queue.
#[must_use]
pub fn of_queue(region: &str, account: &str, name: &str) -> String {
    let partition = match region {
        region if region.starts_with("cn-") => "aws-cn",
        region if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    };
    format!("arn:{partition}:sqs:{region}:{account}:{name}")
}

/// The queue's name in an ARN; `None` if it is not a queue's ARN.
#[must_use]
pub fn queue_name(arn: &str) -> Option<&str> {
    let mut parts = arn.split(':');
    let (scheme, partition, service) = (parts.next()?, parts.next()?, parts.next()?);
    let (_region, _account, name) = (parts.next()?, parts.next()?, parts.next()?);
    let is_queue =
        scheme == "arn" && partition.starts_with("aws") && service == "sqs" && parts.next().is_none();
    (is_queue && !name.is_empty()).then_some(name)
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
    fn what_is_no_queue_has_no_name() {
        for arn in ["", "q", "arn:aws:sns:us-east-1:0:t", "arn:aws:sqs:us-east-1:0:", "arn:aws:sqs:a:b:c:d"] {
            assert_eq!(queue_name(arn), None, "{arn}");
        }
    }
}
