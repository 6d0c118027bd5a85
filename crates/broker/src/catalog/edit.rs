//! Changing a catalog: only the core does, on its own copy.

use std::sync::Arc;

use super::{Catalog, Queue, QueueId, Topic, TopicId, labels_bytes};

impl Catalog {
    /// Adds a topic or replaces what is known of it; its name and partitions stay what they were.
    pub(crate) fn put_topic(&mut self, topic: Topic) {
        self.version += 1;
        self.topic_names.insert((topic.namespace.clone(), topic.name.clone()), topic.id);
        for &partition in &topic.partitions {
            self.partition_topics.insert(partition, topic.id);
        }
        self.labels_bytes += labels_bytes(&topic.labels);
        if let Some(before) = self.topics.insert(topic.id, Arc::new(topic)) {
            self.labels_bytes -= labels_bytes(&before.labels);
        }
    }

    /// Takes a topic away; the queues on it are taken away before.
    pub(crate) fn remove_topic(&mut self, id: TopicId) -> Option<Arc<Topic>> {
        let topic = self.topics.remove(&id)?;
        self.version += 1;
        self.labels_bytes -= labels_bytes(&topic.labels);
        self.topic_names.remove(&(topic.namespace.clone(), topic.name.clone()));
        for partition in &topic.partitions {
            self.partition_topics.remove(partition);
            self.epochs.remove(partition);
        }
        Some(topic)
    }

    /// Adds a queue or replaces what is known of it; its name stays what it was.
    pub(crate) fn put_queue(&mut self, queue: Queue) {
        self.version += 1;
        self.queue_names.insert((queue.namespace.clone(), queue.name.clone()), queue.id);
        self.topic_queues.insert((queue.topic, queue.id), ());
        self.labels_bytes += labels_bytes(&queue.labels);
        if let Some(before) = self.queues.insert(queue.id, Arc::new(queue)) {
            self.labels_bytes -= labels_bytes(&before.labels);
        }
    }

    /// Takes a queue away.
    pub(crate) fn remove_queue(&mut self, id: QueueId) -> Option<Arc<Queue>> {
        let queue = self.queues.remove(&id)?;
        self.version += 1;
        self.labels_bytes -= labels_bytes(&queue.labels);
        self.queue_names.remove(&(queue.namespace.clone(), queue.name.clone()));
        self.topic_queues.remove(&(queue.topic, id));
        Some(queue)
    }
}
