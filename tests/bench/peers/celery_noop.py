"""A Celery application whose task does nothing; run it with COUNT to push that many jobs."""

import os
import sys

from celery import Celery

app = Celery("celery_noop", broker="redis+socket://" + os.environ["PEER_SOCKET"])
app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=128,
                worker_disable_rate_limits=True, worker_send_task_events=False,
                broker_connection_retry_on_startup=True)


@app.task(name="noop", ignore_result=True)
def noop(number):
    pass


if __name__ == "__main__":
    with app.producer_pool.acquire() as producer:
        for n in range(int(sys.argv[1])):
            noop.apply_async((n,), producer=producer)
