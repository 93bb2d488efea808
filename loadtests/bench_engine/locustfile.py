"""The ordinary way to ask: each user waits for its answer, then for its turn. RATE_PER_USER is a second's requests of one."""

import os

from locust import FastHttpUser, constant_throughput, task


class Asker(FastHttpUser):
    wait_time = constant_throughput(float(os.environ["RATE_PER_USER"]))

    @task
    def ask(self) -> None:
        self.client.post("/", data=b"question", headers={"content-type": "text/plain"})
