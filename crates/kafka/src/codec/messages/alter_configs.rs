//! AlterConfigs, IncrementalAlterConfigs: settings changed, all of a resource or some. Source: KIP-133, KIP-339.

use crate::codec::message::message;

message! {
    AlterConfigsRequest {
        resources: Vec<AlterConfigsResource> [..];
        validate_only: bool [..];
    }
    AlterConfigsResource {
        resource_type: i8 [..];
        resource_name: String [..];
        configs: Vec<AlterableConfig> [..];
    }
    AlterableConfig {
        name: String [..];
        value: Option<String> [..];
    }
    AlterConfigsResponse {
        throttle_time_ms: i32 [..];
        responses: Vec<AlterConfigsResourceResponse> [..];
    }
    AlterConfigsResourceResponse {
        error_code: i16 [..];
        error_message: Option<String> [..];
        resource_type: i8 [..];
        resource_name: String [..];
    }
    IncrementalAlterConfigsRequest {
        resources: Vec<IncrementalAlterConfigsResource> [..];
        validate_only: bool [..];
    }
    IncrementalAlterConfigsResource {
        resource_type: i8 [..];
        resource_name: String [..];
        configs: Vec<IncrementalAlterableConfig> [..];
    }
    IncrementalAlterableConfig {
        name: String [..];
        config_operation: i8 [..];
        value: Option<String> [..];
    }
    IncrementalAlterConfigsResponse {
        throttle_time_ms: i32 [..];
        responses: Vec<AlterConfigsResourceResponse> [..];
    }
}
