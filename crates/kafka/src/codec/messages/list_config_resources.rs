//! ListConfigResources: what has settings. Source: KIP-1142.

use crate::codec::message::message;

message! {
    ListConfigResourcesRequest {
        resource_types: Vec<i8> [1..];
    }
    ListConfigResourcesResponse {
        throttle_time_ms: i32 [..];
        error_code: i16 [..];
        config_resources: Vec<ListedConfigResource> [..];
    }
    ListedConfigResource {
        resource_name: String [..];
        resource_type: i8 [1..] = 16;
    }
}
