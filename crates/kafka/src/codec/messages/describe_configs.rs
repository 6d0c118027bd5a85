//! DescribeConfigs: settings of topics and brokers. Source: KIP-133, KIP-226, KIP-569.

use crate::codec::message::message;

message! {
    DescribeConfigsRequest {
        resources: Vec<DescribeConfigsResource> [..];
        include_synonyms: bool [1..];
        include_documentation: bool [3..];
    }
    DescribeConfigsResource {
        resource_type: i8 [..];
        resource_name: String [..];
        // Null is every setting.
        configuration_keys: Option<Vec<String>> [..];
    }
    DescribeConfigsResponse {
        throttle_time_ms: i32 [..];
        results: Vec<DescribeConfigsResult> [..];
    }
    DescribeConfigsResult {
        error_code: i16 [..];
        error_message: Option<String> [..];
        resource_type: i8 [..];
        resource_name: String [..];
        configs: Vec<DescribeConfigsResourceResult> [..];
    }
    DescribeConfigsResourceResult {
        name: String [..];
        value: Option<String> [..];
        read_only: bool [..];
        config_source: i8 [1..] = -1;
        is_sensitive: bool [..];
        synonyms: Vec<DescribeConfigsSynonym> [1..];
        config_type: i8 [3..];
        documentation: Option<String> [3..];
    }
    DescribeConfigsSynonym {
        name: String [1..];
        value: Option<String> [1..];
        source: i8 [1..];
    }
}
