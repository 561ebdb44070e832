"""The store on both of its databases, built by the migrations."""
