"""Two legal entities, which tests add to a company: an American one, the default, and a German one in the region eu."""

TWO_ENTITIES = """\
kind: legal_entity
name: us
title: Acme, Inc.
country: US
currency: USD
zone: America/New_York
default: true
---
kind: legal_entity
name: de
title: Acme GmbH
country: DE
currency: EUR
zone: Europe/Berlin
region: eu
---
"""
