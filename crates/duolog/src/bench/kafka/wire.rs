//! A minimal Kafka client on a blocking socket: it knows where everything is, since there is one broker.

use std::io::{IoSlice, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::{Buf, Bytes, BytesMut};
use duolog_kafka::codec::header::decode_response;
use duolog_kafka::codec::messages::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest, DeleteTopicState, DeleteTopicsRequest,
    FetchPartition, FetchRequest, FetchTopic, PartitionProduceData, ProduceRequest, TopicProduceData,
};
use duolog_kafka::codec::{Api, encode_request};
use duolog_record::{Batch, BatchError, Offset};

const PRODUCE_VERSION: i16 = 9;
const FETCH_VERSION: i16 = 12;
const CREATE_VERSION: i16 = 5;
const DELETE_VERSION: i16 = 6;
/// How long a consumer at the end lets the broker wait. Source: Kafka `fetch.max.wait.ms`.
pub const FETCH_WAIT_MS: i32 = 500;
/// Largest response that is read.
const RESPONSE_BYTES: usize = 256 << 20;
/// A broker that says nothing for so long is not measured.
const PATIENCE: Duration = Duration::from_secs(60);

/// One connection.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    next_id: i32,
    /// Read and not yet taken apart.
    buffer: BytesMut,
}

/// What a fetch brought.
#[derive(Debug)]
pub struct Fetched {
    /// Whole batches, checked.
    pub batches: Vec<Batch>,
}

impl Wire {
    pub fn connect(address: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| {
            format!("no broker answers at {address}: start one with `duolog serve`, or say --spawn, or --addr ADDR")
        })?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream, next_id: 0, buffer: BytesMut::new() })
    }

    /// A second handle on the same connection: one sends, the other receives.
    pub fn split(&self) -> anyhow::Result<Self> {
        Ok(Self { stream: self.stream.try_clone()?, next_id: 0, buffer: BytesMut::new() })
    }

    /// Sends one batch with acks=all.
    pub fn send_produce(&mut self, topic: &str, partition: u32, batch: &Batch) -> anyhow::Result<()> {
        let data = PartitionProduceData { index: partition as i32, records: Some(batch.bytes().clone()) };
        self.send(
            PRODUCE_VERSION,
            &ProduceRequest {
                acks: -1,
                timeout_ms: 30_000,
                topic_data: vec![TopicProduceData {
                    name: topic.to_owned(),
                    partition_data: vec![data],
                    ..TopicProduceData::default()
                }],
                ..ProduceRequest::default()
            },
        )
    }

    /// Receives the answer to the oldest produce request: partition and base offset.
    pub fn receive_produce(&mut self) -> anyhow::Result<(u32, u64)> {
        let response = self.receive::<ProduceRequest>(PRODUCE_VERSION)?;
        let partition = response.responses.first().and_then(|topic| topic.partition_responses.first());
        let partition = partition.context("an empty produce response")?;
        let message = partition.error_message.as_deref().unwrap_or_default();
        ensure!(partition.error_code == 0, "produce failed with error {} {message}", partition.error_code);
        Ok((partition.index as u32, partition.base_offset as u64))
    }

    /// Asks for records of one partition; where there are none, the broker waits so long for some.
    pub fn send_fetch(
        &mut self,
        topic: &str,
        partition: u32,
        from: u64,
        bytes: i32,
        wait_ms: i32,
    ) -> anyhow::Result<()> {
        let wanted = FetchPartition {
            partition: partition as i32,
            fetch_offset: from as i64,
            partition_max_bytes: bytes,
            ..FetchPartition::default()
        };
        self.send(
            FETCH_VERSION,
            &FetchRequest {
                max_wait_ms: wait_ms,
                min_bytes: 1,
                max_bytes: bytes,
                topics: vec![FetchTopic {
                    topic: topic.to_owned(),
                    partitions: vec![wanted],
                    ..FetchTopic::default()
                }],
                ..FetchRequest::default()
            },
        )
    }

    /// Receives the answer to the oldest fetch.
    pub fn receive_fetch(&mut self) -> anyhow::Result<Fetched> {
        let response = self.receive::<FetchRequest>(FETCH_VERSION)?;
        ensure!(response.error_code == 0, "fetch failed with error {}", response.error_code);
        let partition =
            response.responses.into_iter().next().and_then(|topic| topic.partitions.into_iter().next());
        let partition = partition.context("an empty fetch response")?;
        ensure!(partition.error_code == 0, "fetch failed with error {}", partition.error_code);
        let mut batches = Vec::new();
        for part in partition.records.0 {
            let mut bytes = part.body;
            // The first batch comes in two pieces, the rest in one.
            let length =
                u32::from_be_bytes([part.prefix[8], part.prefix[9], part.prefix[10], part.prefix[11]]);
            let body = (length as usize).checked_sub(4).filter(|body| *body <= bytes.len());
            let body = bytes.split_to(body.context("a batch that is cut off")?);
            ensure!(Batch::body_is_sound(&body), "a batch whose checksum is wrong");
            let base = u64::from_be_bytes(part.prefix[..8].try_into().expect("eight bytes"));
            batches.push(Batch::from_parts(Offset(base), 0, &body)?);
            while !bytes.is_empty() {
                match Batch::split_checked(&mut bytes) {
                    Ok(batch) => batches.push(batch),
                    // A fetch may end within a batch.
                    Err(BatchError::Incomplete { .. }) => break,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(Fetched { batches })
    }

    pub fn create_topic(&mut self, name: &str, partitions: u32, batch_bytes: usize) -> anyhow::Result<()> {
        let config = CreatableTopicConfig {
            name: "max.message.bytes".to_owned(),
            value: Some(batch_bytes.to_string()),
        };
        let topic = CreatableTopic {
            name: name.to_owned(),
            num_partitions: partitions as i32,
            replication_factor: 1,
            configs: vec![config],
            ..CreatableTopic::default()
        };
        self.send(
            CREATE_VERSION,
            &CreateTopicsRequest { topics: vec![topic], ..CreateTopicsRequest::default() },
        )?;
        let response = self.receive::<CreateTopicsRequest>(CREATE_VERSION)?;
        let result = response.topics.first().context("an empty answer to CreateTopics")?;
        let message = result.error_message.as_deref().unwrap_or_default();
        ensure!(result.error_code == 0, "the topic was not created: error {} {message}", result.error_code);
        Ok(())
    }

    pub fn delete_topic(&mut self, name: &str) -> anyhow::Result<()> {
        let topic = DeleteTopicState { name: Some(name.to_owned()), ..DeleteTopicState::default() };
        let request =
            DeleteTopicsRequest { topics: vec![topic], timeout_ms: 30_000, ..DeleteTopicsRequest::default() };
        self.send(DELETE_VERSION, &request)?;
        let response = self.receive::<DeleteTopicsRequest>(DELETE_VERSION)?;
        let code = response.responses.first().map_or(0, |it| it.error_code);
        ensure!(code == 0, "the topic was not deleted: error {code}");
        Ok(())
    }

    fn send<T: Api>(&mut self, version: i16, request: &T) -> anyhow::Result<()> {
        let frame = encode_request(version, self.next_id, Some("duolog-bench"), request);
        self.next_id = self.next_id.wrapping_add(1);
        let mut slices: Vec<IoSlice<'_>> = frame.parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut slices = slices.as_mut_slice();
        while !slices.is_empty() {
            match self.stream.write_vectored(slices) {
                Ok(0) => bail!("the broker closed the connection"),
                Ok(written) => IoSlice::advance_slices(&mut slices, written),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => (),
                Err(error) => return Err(error).context("cannot send to the broker"),
            }
        }
        Ok(())
    }

    fn receive<T: Api>(&mut self, version: i16) -> anyhow::Result<T::Response> {
        let frame = self.frame()?;
        let (_, response) = decode_response::<T>(version, frame)?;
        Ok(response)
    }

    /// The next response, its size taken off.
    fn frame(&mut self) -> anyhow::Result<Bytes> {
        self.fill(4)?;
        let size = self.buffer.get_u32() as usize;
        ensure!(size <= RESPONSE_BYTES, "a response of {size} bytes");
        self.fill(size)?;
        Ok(self.buffer.split_to(size).freeze())
    }

    /// Reads until the buffer has `bytes`.
    fn fill(&mut self, bytes: usize) -> anyhow::Result<()> {
        const AT_ONCE: usize = 256 << 10;
        while self.buffer.len() < bytes {
            let have = self.buffer.len();
            // Room for the rest of it, or for what else may be there.
            self.buffer.resize(bytes.max(have + AT_ONCE), 0);
            let read = self.stream.read(&mut self.buffer[have..]);
            self.buffer.truncate(have + *read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => bail!("the broker closed the connection"),
                Ok(_) => (),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => (),
                Err(error) => return Err(error).context("the broker does not answer"),
            }
        }
        Ok(())
    }
}
