"""The commands of DESIGN's table, one file each; `tidemill.deploy.cli` names them."""
