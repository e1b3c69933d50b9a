"""Sample companies: tidewater, openly synthetic with exact truth, and the real purchases of completejourney."""
