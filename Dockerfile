# The same steps as the Makefile: set up with the system's python3, then run `pm` from the environment.
FROM debian:trixie-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 python3-venv make gcc ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 pm \
    && install --directory --owner pm /srv/pm /var/lib/pm
WORKDIR /srv/pm
COPY --chown=pm . .
USER pm
RUN make setup
ENV PATH=/srv/pm/.venv/bin:$PATH PM_HOME=/var/lib/pm
EXPOSE 8080 3000
CMD ["pm", "serve", "--host", "0.0.0.0"]
